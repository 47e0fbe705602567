package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

const suffix = ".json"

// Store is a directory of records.
type Store struct {
	dir string
}

// Open makes the directory where it is missing. It must lie on the host, not in a container.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of stage records: %w", err)
	}
	return &Store{dir: dir}, nil
}

// Existing is Open for a directory that must be there already.
func Existing(dir string) (*Store, error) {
	if _, err := os.ReadDir(dir); err != nil {
		return nil, err
	}
	return &Store{dir: dir}, nil
}

// Dir is the directory of the records.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path(volumeID string) string {
	sum := sha256.Sum256([]byte(volumeID))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:16])+suffix)
}

// Load gives the record of a volume; found is false where there is none. A record that cannot be
// read is an error, never "none": what it stands for is still on the node.
func (s *Store) Load(volumeID string) (r *Record, found bool, err error) {
	r, err = read(s.path(volumeID))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("read the stage record of %s: %w", volumeID, err)
	case r.VolumeID != volumeID:
		return nil, false, fmt.Errorf("the stage record %s is of volume %s, not of %s", s.path(volumeID), r.VolumeID, volumeID)
	}
	return r, true, nil
}

func read(path string) (*Record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Record{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Save writes the record so that it is on the disk when Save returns, whole or not at all.
func (s *Store) Save(r *Record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := host.ReplaceFile(s.path(r.VolumeID), append(data, '\n')); err != nil {
		return fmt.Errorf("write the stage record of %s: %w", r.VolumeID, err)
	}
	return nil
}

// Delete removes the record of a volume, and what was asked about it; none is fine.
func (s *Store) Delete(volumeID string) error {
	if err := s.remove(s.path(volumeID), "remove the stage record of "+volumeID); err != nil {
		return err
	}
	return s.WithdrawRelease(volumeID) // after the record: who asked takes this alone for a refusal
}

func (s *Store) remove(path, what string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = host.SyncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// List gives all records. If some cannot be read, it gives an error beside the others: who must
// know of all may then act on none, who looks at each for itself may.
func (s *Store) List() ([]*Record, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list stage records: %w", err)
	}
	var records []*Record
	var errs []error
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		r, err := read(filepath.Join(s.dir, e.Name()))
		switch {
		case err == nil:
			records = append(records, r)
		case !errors.Is(err, fs.ErrNotExist): // else it was deleted meanwhile
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return records, fmt.Errorf("list stage records: %w", errors.Join(errs...))
	}
	return records, nil
}
