package mount

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// signature is what blkid found on a device.
type signature struct {
	Type           string // file system, LVM2_member, crypto_LUKS …
	PartitionTable string // dos, gpt …
}

func (s signature) String() string {
	switch {
	case s.PartitionTable == "":
		return s.Type
	case s.Type == "":
		return "a partition table (" + s.PartitionTable + ")"
	default:
		return s.Type + " and a partition table (" + s.PartitionTable + ")"
	}
}

// blkid's exit statuses (blkid(8)). 2 is also what it says of a device that it cannot read
// (facts/nvme.md §0.6), so it proves nothing on its own.
const (
	blkidNothing   = 2
	blkidAmbiguous = 8
)

// identify asks blkid, without its cache, what is on the device. found is false when it saw nothing.
func (m *Mounter) identify(ctx context.Context, device string) (s signature, found bool, err error) {
	result, err := m.tools.Run(ctx, "blkid", "-p", "-o", "export", device)
	if failed, ok := errors.AsType[*host.ExitError](err); ok {
		switch failed.Code {
		case blkidNothing:
			return signature{}, false, nil
		case blkidAmbiguous:
			return signature{Type: "several signatures that contradict each other (blkid: ambivalent)"}, true, nil
		}
	}
	if err != nil {
		return signature{}, false, err
	}
	return parseBlkid(result.Stdout), true, nil
}

// parseBlkid reads "KEY=value" lines. Keys it does not know are left out; a device that blkid has
// something to say about is never blank, whatever it says.
func parseBlkid(text string) signature {
	var s signature
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		switch key {
		case "TYPE":
			s.Type = value
		case "PTTYPE":
			s.PartitionTable = value
		}
	}
	if s == (signature{}) {
		s.Type = fmt.Sprintf("something blkid has no name for (%.80q)", text)
	}
	return s
}
