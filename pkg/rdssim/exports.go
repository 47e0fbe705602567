package rdssim

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// export is one subsystem as hosts see it.
type export struct {
	NQN   string
	Port  int
	Path  string // absolute, of the backing file
	Hosts []string
	Size  uint64
	Slot  string
	UUID  string // of the namespace
}

// exporter offers exports to real hosts.
type exporter interface {
	// Open makes hosts find something that listens, also before any export.
	Open() error
	// Export offers a subsystem.
	Export(e export) error
	// Update follows a change of hosts or size without cutting sessions.
	Update(before, after export) error
	// Withdraw takes a subsystem away; sessions to it are cut.
	Withdraw(e export) error
	// Close takes everything away.
	Close() error
}

// nowhere is the exporter "none".
type nowhere struct{}

func (nowhere) Open() error              { return nil }
func (nowhere) Export(export) error      { return nil }
func (nowhere) Update(_, _ export) error { return nil }
func (nowhere) Withdraw(export) error    { return nil }
func (nowhere) Close() error             { return nil }

// exportOf is what a disk should offer, if anything.
func (a *Array) exportOf(d *disk) (export, bool) {
	if d == nil || !d.exported() {
		return export{}, false
	}
	return export{
		NQN:   a.nqn(d),
		Port:  a.port(d),
		Path:  a.files.hostPath(d.File),
		Hosts: a.opts.allowedHosts(d.Set["nvme-tcp-server-allow-host-name"]),
		Size:  d.Size,
		Slot:  d.Slot,
		UUID:  d.UUID,
	}, true
}

// hosts reads nvme-tcp-server-allow-host-name: empty is any host; several are
// separated by commas (assumed: no source knows the list's syntax).
func hosts(acl string) []string {
	list := []string{}
	for host := range strings.SplitSeq(acl, ",") {
		if host = strings.TrimSpace(host); host != "" {
			list = append(list, host)
		}
	}
	return list
}

// publish makes what hosts can reach follow a disk's change: before is nil for
// a new one, after for a removed one.
func (a *Array) publish(before, after *disk) error {
	if a.exportsHeld {
		return nil // booting: exports come back on their own
	}
	was, had := a.live[slotOf(before)]
	now, has := a.exportOf(after)
	switch {
	case had && has && was.NQN == now.NQN && was.Port == now.Port && was.Path == now.Path:
		return a.updateExport(was, now)
	case has && a.files.nodes[after.File] == nil:
		return script.Errorf("failure: could not open /%s", after.File) // assumed
	case !had && !has:
		return nil
	}
	if had {
		if err := a.withdraw(was); err != nil {
			return err
		}
	}
	if has {
		return a.offer(now)
	}
	return nil
}

func slotOf(d *disk) string {
	if d == nil {
		return ""
	}
	return d.Slot
}

func (a *Array) offer(e export) error {
	if err := a.exporter.Export(e); err != nil {
		return script.Errorf("failure: could not export %s: %v", e.Slot, err)
	}
	a.live[e.Slot] = e
	return a.writeExport(e)
}

func (a *Array) updateExport(was, now export) error {
	if err := a.exporter.Update(was, now); err != nil {
		return script.Errorf("failure: could not change export %s: %v", now.Slot, err)
	}
	delete(a.live, was.Slot)
	a.live[now.Slot] = now
	return a.writeExport(now)
}

func (a *Array) withdraw(e export) error {
	if err := a.exporter.Withdraw(e); err != nil {
		return script.Errorf("failure: could not withdraw %s: %v", e.Slot, err)
	}
	delete(a.live, e.Slot)
	if err := os.Remove(a.exportPath(e.NQN)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return script.Errorf("failure: %v", err)
	}
	return nil
}

func (a *Array) exportsDir() string { return filepath.Join(a.opts.Dir, "exports") }

func (a *Array) exportPath(nqn string) string { return filepath.Join(a.exportsDir(), nqn) }

// writeExport keeps DIR/exports/<nqn> for connectors that attach the file
// itself.
func (a *Array) writeExport(e export) error {
	text, err := json.Marshal(struct {
		Path  string   `json:"path"`
		Hosts []string `json:"hosts"`
		Size  uint64   `json:"size"`
		Slot  string   `json:"slot"`
	}{e.Path, e.Hosts, e.Size, e.Slot})
	if err == nil {
		err = writeFileAtomic(a.exportPath(e.NQN), append(text, '\n'), 0o644)
	}
	if err != nil {
		return script.Errorf("failure: %v", err)
	}
	return nil
}

// clearExports removes what an earlier run left in DIR/exports.
func (a *Array) clearExports() error {
	if err := os.RemoveAll(a.exportsDir()); err != nil {
		return err
	}
	return os.MkdirAll(a.exportsDir(), 0o755)
}

// MayConnect reports whether a host would be let in to a subsystem now.
func (a *Array) MayConnect(nqn, hostNQN string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.live {
		if e.NQN == nqn {
			return len(e.Hosts) == 0 || slices.Contains(e.Hosts, hostNQN)
		}
	}
	return false
}
