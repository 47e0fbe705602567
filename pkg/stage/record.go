// Package stage keeps what a node must remember of each volume it has staged, in files
// that outlive the plugin and the node's reboot.
//
// A record is written before the first side effect of a stage, and removed after the last
// of an unstage. So whatever of a volume is on the node, its record says what that is.
package stage

import (
	"slices"
	"time"
)

// Format is how far mkfs has come.
type Format string

// The states of Format. A record that says Formatting, and never said Formatted, is the only
// licence to run mkfs on a device that is not blank (design.md §6 rule 2).
const (
	FormatNone Format = ""
	Formatting Format = "formatting"
	Formatted  Format = "formatted"
)

// Record is what a node remembers of a volume it has staged.
type Record struct {
	VolumeID    string            `json:"volume_id"`
	NQN         string            `json:"nqn"`
	HostNQN     string            `json:"host_nqn"`
	Context     map[string]string `json:"publish_context"` // how to connect again
	StagingPath string            `json:"staging_path"`
	Block       bool              `json:"block,omitempty"`
	FSType      string            `json:"fs_type,omitempty"`
	MountFlags  []string          `json:"mount_flags,omitempty"`
	ReadOnly    bool              `json:"read_only,omitempty"`
	Capability  string            `json:"capability"` // of the stage call, to tell a repeat from a different one
	Device      string            `json:"device,omitempty"`
	DevNum      string            `json:"dev_num,omitempty"` // major:minor of this attachment; changes with a reconnect
	Format      Format            `json:"format,omitempty"`
	FormatFS    string            `json:"format_fs,omitempty"`
	Targets     []Target          `json:"targets,omitempty"`
	StagedAt    time.Time         `json:"staged_at,omitzero"`
	BootID      string            `json:"boot_id,omitempty"`        // of the kernel it was staged under: mounts and devices of another are gone
	TraceParent string            `json:"traceparent,omitempty"`    // of the stage call, for recoveries to link to
	Former      []string          `json:"former_devices,omitempty"` // names of devices this attachment had before, in this boot
	Recovery    *Recovery         `json:"recovery,omitempty"`       // one that has begun and not ended
	Attachment  *Attachment       `json:"attachment,omitempty"`     // nil: none was seen
}

// Recovery is what a recovery has taken down and not yet brought back.
type Recovery struct {
	Since time.Time `json:"since"`
	Paths []string  `json:"paths,omitempty"` // publish paths to mount again
}

// Staged tells whether the volume is staged under the kernel with that boot id: what a record of
// another boot speaks of went with that.
func (r *Record) Staged(bootID string) bool { return !r.StagedAt.IsZero() && r.BootID == bootID }

// Target is a path the volume is published at.
type Target struct {
	Path     string `json:"path"`
	ReadOnly bool   `json:"read_only,omitempty"`
	Asked    string `json:"asked"` // capability and flags of the publish call
	Pod      Pod    `json:"pod,omitzero"`
}

// Paths are all mount points of the volume: where it is published, then where it is staged.
func (r *Record) Paths() []string {
	var paths []string
	for _, t := range r.Targets {
		paths = append(paths, t.Path)
	}
	return append(paths, r.StagingPath)
}

// Target finds the record of a target path.
func (r *Record) Target(path string) (Target, bool) {
	i := slices.IndexFunc(r.Targets, func(t Target) bool { return t.Path == path })
	if i < 0 {
		return Target{}, false
	}
	return r.Targets[i], true
}

// SetTarget adds or replaces the record of a target path.
func (r *Record) SetTarget(t Target) {
	r.Targets = append(slices.DeleteFunc(r.Targets, func(o Target) bool { return o.Path == t.Path }), t)
}

// DropTarget removes the record of a target path.
func (r *Record) DropTarget(path string) {
	r.Targets = slices.DeleteFunc(r.Targets, func(t Target) bool { return t.Path == path })
	if r.Recovery != nil {
		r.Recovery.Paths = slices.DeleteFunc(r.Recovery.Paths, func(p string) bool { return p == path })
	}
}
