package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

const (
	shutdownInterval = 2 * time.Second
	restoreInterval  = 30 * time.Second
	// shutdownLossTmo is for how many seconds a node that shuts down waits for an array that is
	// away: longer than an array's network hiccup, shorter than anybody waits for a reboot.
	shutdownLossTmo = 5
)

// ShutdownConfig is what a Shutdown works with.
type ShutdownConfig struct {
	Records  stageRecords
	Mounts   mountTable
	Sessions sessions
	// CtrlLossTmo is a volume's own time-out in seconds, from its publish context; negative is never.
	CtrlLossTmo func(publishContext map[string]string) (int, error)
	Log         *zap.Logger
}

// stageRecords are what this node has staged. Beside an error List gives those that can be read.
type stageRecords interface {
	List() ([]*stage.Record, error)
}

// mountTable is what is mounted on this node; Canonical is a path as the table has it.
type mountTable interface {
	Table() ([]host.MountPoint, error)
	Canonical(path string) (string, error)
}

// sessions are this node's NVMe/TCP controllers, by exact NQN and host NQN. None of it waits for
// a device. Lower and Restore tell how many they changed; Restore changes only what Lower has.
type sessions interface {
	Status(ctx context.Context, nqn, hostNQN string) (nvme.Status, error)
	LowerCtrlLossTmo(ctx context.Context, nqn, hostNQN string, seconds int) (int, error)
	RestoreCtrlLossTmo(ctx context.Context, nqn, hostNQN string, lowered, own int) (int, error)
}

// Shutdown keeps a node's shutdown from hanging on volumes whose array does not answer.
//
// Sessions outlive the plugin, and wait for their array for ever: pods come through a restart of
// either. At the end of a node that same patience keeps it from going down, as the network often
// goes before the last unmount (openebs/mayastor#1764). So from logind's announcement on, the
// kernel may give up what nobody has mounted any more, and what is away: after a few seconds, and
// if it answers before, nothing is lost. In doubt nothing is done.
type Shutdown struct {
	cfg  ShutdownConfig
	said map[string]string // by volume id: the last trouble with it, "" for that with all
}

// NewShutdown makes a Shutdown. Nothing happens before Run.
func NewShutdown(cfg ShutdownConfig) *Shutdown {
	return &Shutdown{cfg: cfg, said: map[string]string{}}
}

// Run acts on what is told, until ctx ends: after true it looks at all volumes again and again;
// after false it gives back what was lowered, by this process or by one before it, since a plugin
// is stopped early in a shutdown that may be called off later. Untold it does nothing: that the
// plugin itself is stopped says nothing of the node.
func (s *Shutdown) Run(ctx context.Context, told <-chan bool) {
	var again <-chan time.Time
	preparing := false
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-told:
			s.logTold(preparing, now)
			preparing = now
		case <-again:
		}
		again = s.act(ctx, preparing)
	}
}

func (s *Shutdown) logTold(before, now bool) {
	switch {
	case now && !before:
		s.cfg.Log.Info("this node shuts down: volumes that nobody has mounted, or whose array is away, are given up by the kernel after " + (shutdownLossTmo * time.Second).String())
	case !now && before:
		s.cfg.Log.Info("this node's shutdown was called off")
	}
}

// act looks once, and gives when to look again, if at all.
func (s *Shutdown) act(ctx context.Context, preparing bool) <-chan time.Time {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if preparing {
		s.lowerAll(ctx)
		return time.After(shutdownInterval)
	}
	if s.restoreAll(ctx) {
		return nil
	}
	return time.After(restoreInterval)
}

func (s *Shutdown) lowerAll(ctx context.Context) {
	table, err := s.cfg.Mounts.Table()
	if err != nil {
		s.note("", err)
		return
	}
	records, err := s.cfg.Records.List()
	s.note("", err)
	for _, r := range records {
		s.note(r.VolumeID, s.lower(ctx, r, table))
	}
}

func (s *Shutdown) lower(ctx context.Context, r *stage.Record, table []host.MountPoint) error {
	own, err := s.cfg.CtrlLossTmo(r.Context)
	if err != nil {
		return err // it could not be restored
	}
	why, err := s.dispensable(ctx, r, table)
	if err != nil {
		return err
	}
	if why == "" { // it may have been away a moment ago, and is needed again
		return s.restore(ctx, r)
	}
	n, err := s.cfg.Sessions.LowerCtrlLossTmo(ctx, r.NQN, r.HostNQN, shutdownLossTmo)
	if n > 0 {
		s.cfg.Log.Info("ctrl_loss_tmo of a volume is lowered", zap.String("volume_id", r.VolumeID), zap.String("why", why),
			zap.Int("seconds", shutdownLossTmo), zap.Int("own_seconds", own), zap.Int("controllers", n))
	}
	return err
}

// dispensable tells why a volume need not be waited for; "" is that it must be.
func (s *Shutdown) dispensable(ctx context.Context, r *stage.Record, table []host.MountPoint) (string, error) {
	status, err := s.cfg.Sessions.Status(ctx, r.NQN, r.HostNQN)
	if err != nil {
		return "", err
	}
	if status.Link != nvme.LinkLive {
		return "its array is away", nil
	}
	mounted, err := s.mounted(r, table)
	if err != nil || mounted {
		return "", err
	}
	return "it is mounted nowhere", nil
}

// mounted tells whether anything is mounted at the volume's paths, or its device is mounted or
// bound anywhere.
func (s *Shutdown) mounted(r *stage.Record, table []host.MountPoint) (bool, error) {
	num, err := host.ParseDevNum(r.DevNum)
	if err != nil {
		return false, fmt.Errorf("whether it is mounted cannot be told: its stage record has no device yet: %w", err)
	}
	var paths []string
	for _, path := range r.Paths() {
		canonical, err := s.cfg.Mounts.Canonical(path)
		if err != nil {
			return false, fmt.Errorf("whether it is mounted cannot be told: %w", err)
		}
		paths = append(paths, canonical)
	}
	return slices.ContainsFunc(table, func(m host.MountPoint) bool {
		return m.Dev == num || m.NodeDev == num || slices.Contains(paths, m.Path)
	}), nil
}

// restoreAll tells whether nothing is left to restore.
func (s *Shutdown) restoreAll(ctx context.Context) bool {
	records, err := s.cfg.Records.List()
	s.note("", err)
	done := err == nil
	for _, r := range records {
		err := s.restore(ctx, r)
		s.note(r.VolumeID, err)
		done = done && err == nil
	}
	return done
}

func (s *Shutdown) restore(ctx context.Context, r *stage.Record) error {
	own, err := s.cfg.CtrlLossTmo(r.Context)
	if err != nil {
		return err
	}
	n, err := s.cfg.Sessions.RestoreCtrlLossTmo(ctx, r.NQN, r.HostNQN, shutdownLossTmo, own)
	if n > 0 {
		s.cfg.Log.Info("ctrl_loss_tmo of a volume is restored", zap.String("volume_id", r.VolumeID),
			zap.Int("seconds", own), zap.Int("controllers", n))
	}
	return err
}

// note logs trouble when it is new.
func (s *Shutdown) note(volumeID string, err error) {
	if err == nil {
		delete(s.said, volumeID)
		return
	}
	if s.said[volumeID] == err.Error() {
		return
	}
	s.said[volumeID] = err.Error()
	fields := []zap.Field{zap.Error(err)}
	if volumeID != "" {
		fields = append(fields, zap.String("volume_id", volumeID))
	}
	s.cfg.Log.Warn("a volume's ctrl_loss_tmo is left as it is", fields...)
}
