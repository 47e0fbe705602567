package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

const releaseSuffix = ".release"

// releaseLasts is how long a request holds: who waits for it asks again and again. One whose command was
// killed must not drop anything later.
const releaseLasts = 10 * time.Second

// Release is an operator's word that an attachment is revoked for good: the node may let go of it
// by force. It is for one NQN, and so never for what the volume is attached as later.
type Release struct {
	VolumeID string    `json:"volume_id"`
	NQN      string    `json:"nqn"`
	AskedAt  time.Time `json:"asked_at"`
}

func (s *Store) releasePath(volumeID string) string {
	return strings.TrimSuffix(s.path(volumeID), suffix) + releaseSuffix
}

// AskRelease leaves the word for the node plugin, which alone touches volumes. It holds for 10 seconds from AskedAt.
func (s *Store) AskRelease(r Release) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := host.ReplaceFile(s.releasePath(r.VolumeID), append(data, '\n')); err != nil {
		return fmt.Errorf("ask for the release of %s: %w", r.VolumeID, err)
	}
	return nil
}

// ReleaseAsked tells whether the release of what r stands for was asked.
func (s *Store) ReleaseAsked(r *Record) (bool, error) {
	data, err := os.ReadFile(s.releasePath(r.VolumeID))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	var asked Release
	if err == nil {
		err = json.Unmarshal(data, &asked)
	}
	if err != nil {
		return false, fmt.Errorf("look whether the release of %s was asked: %w", r.VolumeID, err)
	}
	age := time.Since(asked.AskedAt)
	return asked.VolumeID == r.VolumeID && asked.NQN == r.NQN && age > -releaseLasts && age < releaseLasts, nil
}

// WithdrawRelease takes the word back; none is fine.
func (s *Store) WithdrawRelease(volumeID string) error {
	return s.remove(s.releasePath(volumeID), "withdraw the release of "+volumeID)
}
