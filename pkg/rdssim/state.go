package rdssim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// header is the part of the state file beside the items.
type header struct {
	Identity   string   `json:"identity"`
	NextID     int      `json:"next_id"`
	Subvolumes []subvol `json:"subvolumes"`
	Shared     []string `json:"shared"` // files whose blocks belong to a snapshot's source
	accounts
	Settings map[string]string `json:"settings,omitempty"` // of /disk/settings, where changed
}

// subvol is what is remembered of a Btrfs subvolume beside its directory.
type subvol struct {
	ID       int    `json:"id"`
	Name     string `json:"name"` // with the pool in front
	Parent   string `json:"parent,omitempty"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// stateFile is DIR/state.json.
type stateFile struct {
	header
	Disks []*disk `json:"disks"`
}

func (a *Array) statePath() string { return filepath.Join(a.opts.Dir, "state.json") }

// load reads the state and the backing files, and makes pools that are new.
func (a *Array) load() error {
	state := stateFile{header: header{Identity: "rds-sim", NextID: 1}}
	text, err := os.ReadFile(a.statePath())
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("state %s: %w; remove the file to begin anew", a.statePath(), err)
	}
	a.header, a.disks = state.header, state.Disks
	a.makeAccounts()
	if err := a.makePools(); err != nil {
		return err
	}
	if a.files, err = scanFiles(a.poolsDir()); err != nil {
		return err
	}
	a.markNodes()
	return a.save()
}

func (a *Array) poolsDir() string { return filepath.Join(a.opts.Dir, "pools") }

func (a *Array) makePools() error {
	for _, p := range a.opts.Pools {
		if err := os.MkdirAll(filepath.Join(a.poolsDir(), p.Name), 0o755); err != nil {
			return err
		}
		d := a.bySlot(p.Name)
		if d == nil {
			d = &disk{ID: a.takeID(), Slot: p.Name, Type: "raid", Set: map[string]string{}, FSUUID: uuid.NewString()}
			a.disks = append(a.disks, d)
		}
		d.FS, d.Size = p.FS, p.Size
	}
	return nil
}

func (a *Array) takeID() int {
	id := a.header.NextID
	a.header.NextID++
	return id
}

// markNodes says which directories are subvolumes and which files cost
// nothing; a subvolume whose directory is gone is forgotten.
func (a *Array) markNodes() {
	a.header.Subvolumes = slices.DeleteFunc(a.header.Subvolumes, func(s subvol) bool {
		n := a.files.nodes[s.Name]
		if n != nil {
			n.volume = true
		}
		return n == nil
	})
	for _, name := range a.header.Shared {
		if n := a.files.nodes[name]; n != nil {
			n.shared = true
		}
	}
}

// save writes the state. Items keep their encoding until they change, so that
// one change among thousands of items costs little.
func (a *Array) save() error {
	a.header.Shared = a.sharedNames()
	text, err := json.Marshal(a.header)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	out.Write(text[:len(text)-1])
	out.WriteString(`,"disks":[`)
	for i, d := range a.disks {
		if d.encoded == nil {
			if d.encoded, err = json.Marshal(d); err != nil {
				return err
			}
		}
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
		out.Write(d.encoded)
	}
	out.WriteString("\n]}\n")
	return writeFileAtomic(a.statePath(), out.Bytes(), 0o644)
}

func (a *Array) sharedNames() []string {
	shared := []string{}
	for name, n := range a.files.nodes {
		if n.shared {
			shared = append(shared, name)
		}
	}
	slices.Sort(shared)
	return shared
}

// bySlot is the item with a slot, nil if there is none.
func (a *Array) bySlot(slot string) *disk {
	i := slices.IndexFunc(a.disks, func(d *disk) bool { return d.Slot == slot })
	if i < 0 {
		return nil
	}
	return a.disks[i]
}

// byFile is the item whose backing file is name or lies below it.
func (a *Array) byFile(name string) *disk {
	i := slices.IndexFunc(a.disks, func(d *disk) bool {
		return d.Type == "file" && (d.File == name || strings.HasPrefix(d.File, name+"/"))
	})
	if i < 0 {
		return nil
	}
	return a.disks[i]
}
