package rds

import (
	"context"
	"maps"
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Scratch is one small volume with which `check --write` tries what no document tells of the array. It is
// changed by the very commands that the driver uses, under a slot that the driver never gives and without
// the driver's mark, so that neither takes it for the other's.
type Scratch struct {
	array   *Array
	slot    string
	comment string
	pool    Pool
}

// scratchPrefix is no form of Slot.
const scratchPrefix = "rds-csi-check-"

// NewScratch names the volume after nonce, a few hex digits that nobody has used before, in the default
// pool. It fails where something of that name is there.
func (a *Array) NewScratch(ctx context.Context, nonce, comment string) (*Scratch, error) {
	s := &Scratch{array: a, slot: scratchPrefix + nonce, comment: comment}
	op := "look for a place for volume " + s.slot
	var err error
	if s.pool, err = a.Pool(ctx, ""); err != nil {
		return nil, err
	}
	left, err := s.left(ctx)
	if err == nil && left != (Left{}) {
		err = fault.Errorf("", fault.Conflict, "there are %d disks and %d files of that name already", left.Disks, left.Files)
	}
	return s, fault.Wrap(op, err)
}

// Slot is the slot of its disk.
func (s *Scratch) Slot() string { return s.slot }

// Pool is where it lies.
func (s *Scratch) Pool() Pool { return s.pool }

// Seen is the volume as the array shows it.
type Seen struct {
	Volume
	AsNamed bool              // the path of its file is shown as it was set
	HasFile bool              // /file shows its file
	Free    uint64            // bytes free in its pool
	Types   map[string]string // kind of JSON value by property
}

// NQN is what the volume is exported as under a token.
func (s *Scratch) NQN(token string) string { return NQN(s.slot, token) }

// Create makes the volume, as the driver makes one.
func (s *Scratch) Create(ctx context.Context, size uint64) (Seen, error) {
	return s.change(ctx, telemetry.CommandDiskAdd, "create", s.add(size).body)
}

// Duplicate tries to add a second disk in the same slot, with a file of its own. nil: the array let it.
func (s *Scratch) Duplicate(ctx context.Context, size uint64) error {
	_, err := s.array.run(ctx, telemetry.CommandDiskAdd, s.duplicateScript(size))
	return fault.Wrap("add a second disk in slot "+s.slot, err)
}

// Export lets in hosts under the NQN of a token, or anybody where none is named.
func (s *Scratch) Export(ctx context.Context, token string, hosts ...string) (Seen, error) {
	return s.change(ctx, telemetry.CommandExport, "export", s.exportScript(token, joinACL(hosts...)))
}

// Allow changes who is let in while it is exported.
func (s *Scratch) Allow(ctx context.Context, hosts ...string) (Seen, error) {
	return s.change(ctx, telemetry.CommandExport, "change the allowed hosts of", s.setScript("nvme-tcp-server-allow-host-name="+routeros.Quote(joinACL(hosts...))))
}

// Unexport ends the export and its NQN in one command, as the driver's fence does.
func (s *Scratch) Unexport(ctx context.Context) (Seen, error) {
	return s.change(ctx, telemetry.CommandUnexport, "end the export of",
		s.setScript("nvme-tcp-export=no nvme-tcp-server-nqn="+routeros.Quote(closedNQN(s.slot))))
}

// Grow makes it larger.
func (s *Scratch) Grow(ctx context.Context, size uint64) (Seen, error) {
	return s.change(ctx, telemetry.CommandDiskGrow, "grow", s.growScript(size))
}

func (s *Scratch) change(ctx context.Context, command telemetry.Command, what string, body routeros.Body) (Seen, error) {
	op := what + " volume " + s.slot
	reply, err := s.array.run(ctx, command, func(put routeros.Put) string { return join(body(put), s.seenScript(put)) })
	if err != nil {
		return Seen{}, fault.Wrap(op, err)
	}
	seen, err := s.seen(reply)
	return seen, fault.Wrap(op, err)
}

func (s *Scratch) seen(reply *routeros.Reply) (Seen, error) {
	rows, err := reply.Rows("scratch")
	if err != nil {
		return Seen{}, err
	}
	if len(rows) != 1 {
		return Seen{}, fault.Errorf("", fault.NotFound, "the array shows %d disks in its slot, not one", len(rows))
	}
	seen := Seen{AsNamed: rows[0].String("file-path") == "/"+s.file(), Types: rows[0].Types()}
	if seen.Volume, err = volumeOf(rows[0]); err != nil {
		return seen, err
	}
	files, err := reply.Int("files")
	if err != nil {
		return seen, err
	}
	seen.HasFile = files > 0
	pool, err := reply.Rows("pool")
	if err == nil && len(pool) == 1 {
		seen.Free, err = pool[0].Bytes("free")
	}
	return seen, err
}

// Left is what is there of the volume.
type Left struct {
	Disks, Files int
}

func (s *Scratch) left(ctx context.Context) (Left, error) {
	reply, err := s.array.run(ctx, telemetry.CommandDiskGet, s.leftScript)
	if err != nil {
		return Left{}, err
	}
	return leftOf(reply)
}

// Remove takes the volume away in whatever state it is: export, disk, file, directory or subvolume. It may
// be repeated, and where nothing is left it changes nothing. Nothing else is touched: what is removed has a slot or a file of a name that was free before.
func (s *Scratch) Remove(ctx context.Context) (Left, error) {
	op := "remove volume " + s.slot
	if left, err := s.left(ctx); err != nil || left == (Left{}) {
		return left, fault.Wrap(op, err)
	}
	reply, err := s.array.run(ctx, telemetry.CommandDiskRemove, s.removeScript)
	if err != nil {
		return Left{}, fault.Wrap(op, err)
	}
	left, err := leftOf(reply)
	return left, fault.Wrap(op, err)
}

func leftOf(reply *routeros.Reply) (left Left, err error) {
	if left.Disks, err = reply.Int("disks"); err != nil {
		return left, err
	}
	left.Files, err = reply.Int("files")
	return left, err
}

// Properties lists what is known of how they come, in order.
func (s Seen) Properties() []string { return slices.Sorted(maps.Keys(s.Types)) }
