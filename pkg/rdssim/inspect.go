package rdssim

import (
	"fmt"
	"slices"
)

// Item is a /disk item as it is stored.
type Item struct {
	Slot     string   `json:"slot"`
	Type     string   `json:"type"`
	File     string   `json:"file,omitempty"` // pool/slot/disk.img
	Size     uint64   `json:"size"`           // bytes
	Comment  string   `json:"comment,omitempty"`
	Exported bool     `json:"exported"`
	NQN      string   `json:"nqn,omitempty"` // as stored, also while not exported
	Hosts    []string `json:"hosts,omitempty"`
	UUID     string   `json:"uuid,omitempty"` // of the NVMe namespace
}

// State is what an observer can know of the array.
type State struct {
	Version      string `json:"version"`
	Down         bool   `json:"down"`
	Items        []Item `json:"items"`
	Execs        int64  `json:"execs"`
	Dials        int64  `json:"dials"`
	PeakSessions int64  `json:"peak_sessions"`
	Transcript   []Exec `json:"transcript"` // the last execs, up to 16 MiB of text
}

// State is a snapshot of everything an observer can know.
func (a *Array) State() State {
	return State{
		Version: a.version.text, Down: a.isDown(), Items: a.Items(), Execs: a.Execs(), Dials: a.Dials(),
		PeakSessions: a.PeakSessions(), Transcript: a.Transcript(),
	}
}

func (a *Array) isDown() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.down || a.exportsHeld
}

// Execs counts exec requests since the start.
func (a *Array) Execs() int64 { return a.execs.Load() }

// Dials counts TCP connections since the start.
func (a *Array) Dials() int64 { return a.dials.Load() }

// PeakSessions is the highest number of sessions that were open at once.
func (a *Array) PeakSessions() int64 { return a.peak.Load() }

// Transcript is a copy of the last execs with what was printed, before any
// fault damaged it.
func (a *Array) Transcript() []Exec {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.transcript)
}

// Items is a copy of all /disk items in the order of their ids.
func (a *Array) Items() []Item {
	a.mu.Lock()
	defer a.mu.Unlock()
	items := make([]Item, len(a.disks))
	for i, d := range a.disks {
		items[i] = Item{
			Slot: d.Slot, Type: d.Type, File: d.File, Size: d.Size, Comment: d.Set["comment"], Exported: d.exported(),
			NQN: d.Set["nvme-tcp-server-nqn"], Hosts: hosts(d.Set["nvme-tcp-server-allow-host-name"]), UUID: d.UUID,
		}
	}
	return items
}

// RemoveBehindBack removes a /disk item as an administrator would in a hurry:
// the backing file stays.
func (a *Array) RemoveBehindBack(slot string) error {
	return a.behindBack(slot, func(d *disk) error {
		if err := a.publish(d, nil); err != nil {
			return err
		}
		a.disks = slices.DeleteFunc(a.disks, func(x *disk) bool { return x == d })
		return nil
	})
}

// RemoveFile deletes the backing file of a disk and leaves the item.
func (a *Array) RemoveFile(slot string) error {
	return a.behindBack(slot, func(d *disk) error {
		if a.files.nodes[d.File] == nil {
			return fmt.Errorf("file %s is gone already", d.File)
		}
		return a.files.remove(d.File)
	})
}

func (a *Array) behindBack(slot string, change func(*disk) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.bySlot(slot)
	if d == nil || d.Type != "file" {
		return fmt.Errorf("no file disk with slot %q", slot)
	}
	if err := change(d); err != nil {
		return err
	}
	return a.save()
}
