package rds

import (
	"fmt"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// blockSize is what sizes are rounded up to, in bytes.
const blockSize = 4096

// Size is a wanted size: at least Required bytes, and at most Limit where Limit is not 0.
type Size struct {
	Required, Limit uint64
}

// round gives the size to ask the array for.
func (s Size) round() (uint64, error) {
	if s.Required > 1<<63-blockSize {
		return 0, fault.Errorf("", fault.OutOfRange, "%d bytes are more than any array holds", s.Required)
	}
	rounded := max((s.Required+blockSize-1)/blockSize, 1) * blockSize
	if s.Limit != 0 && s.Limit < rounded {
		return 0, fault.Errorf("", fault.OutOfRange, "at least %d bytes are wanted, which is %d in blocks of %d, but at most %d are allowed", s.Required, rounded, blockSize, s.Limit)
	}
	return rounded, nil
}

func (s Size) fits(size uint64) bool { return size >= s.Required && (s.Limit == 0 || size <= s.Limit) }

func (s Size) String() string {
	if s.Limit == 0 {
		return fmt.Sprintf("at least %d", s.Required)
	}
	return fmt.Sprintf("%d to %d", s.Required, s.Limit)
}
