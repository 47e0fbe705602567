package reconcile_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/reconcile"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

const (
	thisHost = "nqn.test:host"
	never    = -1
	lowered  = 5
)

// session is a volume's controllers.
type session struct {
	live bool
	loss int
	err  error // of whoever asks or changes
}

// machine stands in for a node: its records, its mount table, its sessions. It refuses what is not
// asked for by the whole name, and a change to what it does not know.
type machine struct {
	t *testing.T

	mu         sync.Mutex
	records    []*stage.Record
	recordsErr error
	table      []host.MountPoint
	tableErr   error
	links      map[string]string // by path: what it really is; "" cannot be told
	sessions   map[string]*session
	writes     []string // nqn=seconds
	looks      int
}

func newMachine(t *testing.T) *machine {
	return &machine{t: t, links: map[string]string{}, sessions: map[string]*session{}}
}

// volume stages a volume and connects it.
func (m *machine) volume(name string, num host.DevNum, live bool, targets ...string) *stage.Record {
	r := &stage.Record{
		VolumeID: "rds/" + name, NQN: "nqn.test:" + name, HostNQN: thisHost, DevNum: num.String(),
		StagingPath: "/staging/" + name, Context: map[string]string{"ctrlLossTmo": "-1"},
	}
	for _, path := range targets {
		r.SetTarget(stage.Target{Path: path})
	}
	m.records = append(m.records, r)
	m.sessions[r.NQN] = &session{live: live, loss: never}
	return r
}

func (m *machine) List() ([]*stage.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looks++
	return slices.Clone(m.records), m.recordsErr
}

func (m *machine) Table() ([]host.MountPoint, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.table), m.tableErr
}

func (m *machine) Canonical(path string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	target, ok := m.links[path]
	switch {
	case !ok:
		return path, nil
	case target == "":
		return "", errors.New("it is a symbolic link")
	default:
		return target, nil
	}
}

func (m *machine) session(nqn, hostNQN string) *session {
	s := m.sessions[nqn]
	if hostNQN != thisHost || nqn == "" {
		m.t.Errorf("asked for %q of %q", nqn, hostNQN)
	}
	return s
}

func (m *machine) Status(_ context.Context, nqn, hostNQN string) (nvme.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.session(nqn, hostNQN)
	switch {
	case s == nil:
		return nvme.Status{Link: nvme.LinkGone}, nil
	case s.err != nil:
		return nvme.Status{}, s.err
	case s.live:
		return nvme.Status{Link: nvme.LinkLive, Live: 1}, nil
	default:
		return nvme.Status{Link: nvme.LinkAway}, nil
	}
}

func (m *machine) LowerCtrlLossTmo(ctx context.Context, nqn, hostNQN string, seconds int) (int, error) {
	return m.change(ctx, nqn, hostNQN, seconds, func(now int) bool { return now == never || now > seconds })
}

func (m *machine) RestoreCtrlLossTmo(ctx context.Context, nqn, hostNQN string, from, own int) (int, error) {
	return m.change(ctx, nqn, hostNQN, own, func(now int) bool { return now == from && own != from })
}

func (m *machine) change(ctx context.Context, nqn, hostNQN string, seconds int, meant func(int) bool) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, bounded := ctx.Deadline(); !bounded {
		m.t.Error("a write without a deadline")
	}
	s := m.session(nqn, hostNQN)
	if s == nil {
		return 0, nil
	}
	if s.err != nil || !meant(s.loss) {
		return 0, s.err
	}
	s.loss = seconds
	m.writes = append(m.writes, nqn+"="+strconv.Itoa(seconds))
	return 1, nil
}

// set changes the machine while a Shutdown runs.
func (m *machine) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// written are the writes since it was last asked.
func (m *machine) written() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	writes := m.writes
	m.writes = nil
	return writes
}

func (m *machine) want(what string, writes ...string) {
	m.t.Helper()
	synctest.Wait()
	if got := m.written(); !slices.Equal(got, writes) {
		m.t.Errorf("%s: wrote %q, want %q", what, got, writes)
	}
}

func ownCtrlLossTmo(publishContext map[string]string) (int, error) {
	return strconv.Atoi(publishContext["ctrlLossTmo"])
}

// running is a Shutdown in a bubble of its own time.
type running struct {
	tell chan<- bool
	stop func()
	logs *observer.ObservedLogs
}

func (m *machine) run(t *testing.T) running {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	s := reconcile.NewShutdown(reconcile.ShutdownConfig{
		Records: m, Mounts: m, Sessions: m, CtrlLossTmo: ownCtrlLossTmo, Log: zap.New(core),
	})
	ctx, cancel := context.WithCancel(t.Context())
	told, ended := make(chan bool), make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx, told)
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(stop)
	return running{tell: told, stop: stop, logs: logs}
}

func TestShutdownLowersWhatNeedNotBeWaitedFor(t *testing.T) {
	num := host.DevNum{Major: 259, Minor: 3}
	elsewhere := host.DevNum{Major: 8, Minor: 1}
	at := func(path string, dev host.DevNum) host.MountPoint {
		return host.MountPoint{Path: path, Dev: dev, Root: "/"}
	}
	for name, tt := range map[string]struct {
		live   bool
		mounts []host.MountPoint
		change func(m *machine, r *stage.Record)
		lowers bool
		warns  bool
	}{
		"live and mounted nowhere":                 {live: true, mounts: []host.MountPoint{at("/", elsewhere)}, lowers: true},
		"live and staged":                          {live: true, mounts: []host.MountPoint{at("/staging/v", num)}},
		"live and published":                       {live: true, mounts: []host.MountPoint{at("/pod/v", num)}},
		"live, with something at its staging path": {live: true, mounts: []host.MountPoint{at("/staging/v", elsewhere)}},
		"live, with something at its target":       {live: true, mounts: []host.MountPoint{at("/pod/v", elsewhere)}},
		"live and mounted by somebody":             {live: true, mounts: []host.MountPoint{at("/mnt", num)}},
		"live and bound as a node by somebody": {live: true, mounts: []host.MountPoint{
			{Path: "/globalmap/v", Dev: host.DevNum{Minor: 6}, Root: "/nvme0n1", FSType: "devtmpfs", NodeDev: num},
		}},
		"live and mounted behind a link": {
			live: true, mounts: []host.MountPoint{at("/data/staging/v", elsewhere)},
			change: func(m *machine, _ *stage.Record) { m.links["/staging/v"] = "/data/staging/v" },
		},
		"away and mounted nowhere": {lowers: true},
		"away and mounted":         {mounts: []host.MountPoint{at("/staging/v", num), at("/pod/v", num)}, lowers: true},
		"away, its device not known": {
			change: func(_ *machine, r *stage.Record) { r.DevNum = "" }, lowers: true,
		},
		"gone": {change: func(m *machine, r *stage.Record) { delete(m.sessions, r.NQN) }},
		"waited for no longer by itself": {
			change: func(m *machine, r *stage.Record) { m.sessions[r.NQN].loss = 2 },
		},

		"live, its device not known": {live: true, change: func(_ *machine, r *stage.Record) { r.DevNum = "" }, warns: true},
		"live, a path not known":     {live: true, change: func(m *machine, _ *stage.Record) { m.links["/pod/v"] = "" }, warns: true},
		"whether it is live is not known": {
			change: func(m *machine, r *stage.Record) { m.sessions[r.NQN].err = errors.New("sysfs: input/output error") }, warns: true,
		},
		"its own time-out not known":  {change: func(_ *machine, r *stage.Record) { r.Context["ctrlLossTmo"] = "long" }, warns: true},
		"the mount table not known":   {change: func(m *machine, _ *stage.Record) { m.tableErr = errors.New("no mountinfo") }, warns: true},
		"the records not known":       {change: func(m *machine, _ *stage.Record) { m.records, m.recordsErr = nil, errors.New("no directory") }, warns: true},
		"another's record is damaged": {change: func(m *machine, _ *stage.Record) { m.recordsErr = errors.New("x.json: damaged") }, warns: true, lowers: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine(t)
				m.table = tt.mounts
				r := m.volume("v", num, tt.live, "/pod/v")
				if tt.change != nil {
					tt.change(m, r)
				}
				s := m.run(t)
				s.tell <- true
				var want []string
				if tt.lowers {
					want = []string{"nqn.test:v=5"}
				}
				m.want("at once", want...)
				time.Sleep(time.Hour)
				m.want("an hour later")
				warned := s.logs.FilterLevelExact(zap.WarnLevel)
				if n := warned.Len(); n > 1 || (n == 1) != tt.warns {
					t.Errorf("warned: %v", warned.All())
				}
				acts := s.logs.FilterMessage("ctrl_loss_tmo of a volume is lowered").FilterField(zap.String("volume_id", "rds/v"))
				if acts.Len() != len(want) {
					t.Errorf("logged %v", s.logs.All())
				}
			})
		})
	}
}

func TestShutdownLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		for i, name := range []string{"unmounted", "cut", "kept"} {
			num := host.DevNum{Major: 259, Minor: uint32(i)}
			m.volume(name, num, true)
			m.table = append(m.table, host.MountPoint{Path: "/staging/" + name, Dev: num})
		}
		s := m.run(t)
		s.tell <- true
		m.want("all in use")
		m.set(func() { m.table = m.table[1:] })
		time.Sleep(2 * time.Second)
		m.want("one is unmounted", "nqn.test:unmounted=5")
		m.set(func() { m.sessions["nqn.test:cut"].live = false })
		time.Sleep(2 * time.Second)
		m.want("one is cut off", "nqn.test:cut=5")
		m.set(func() { m.sessions["nqn.test:cut"].live = true })
		s.tell <- true
		time.Sleep(time.Minute)
		m.want("it is back, and needed again", "nqn.test:cut=-1")
		if n := s.logs.FilterMessageSnippet("this node shuts down").Len(); n != 1 {
			t.Errorf("said %d times", n)
		}
	})
}

func TestShutdownCalledOffRestores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		for i, own := range map[uint32]int{1: never, 2: 600, 3: lowered, 4: 2} {
			r := m.volume("v"+strconv.Itoa(int(i)), host.DevNum{Major: 259, Minor: i}, true)
			r.Context["ctrlLossTmo"] = strconv.Itoa(own)
			m.sessions[r.NQN].loss = own
		}
		before := m.losses()
		s := m.run(t)
		s.tell <- true
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := slices.Sorted(slices.Values(m.written())); !slices.Equal(got, []string{"nqn.test:v1=5", "nqn.test:v2=5"}) {
			t.Errorf("wrote %q", got)
		}
		m.set(func() { m.sessions["nqn.test:v1"].err = errors.New("not now") })
		s.tell <- false
		m.want("called off", "nqn.test:v2=600")
		m.set(func() { m.sessions["nqn.test:v1"].err = nil })
		time.Sleep(30 * time.Second)
		m.want("tried again", "nqn.test:v1=-1")
		if got := m.losses(); !maps.Equal(got, before) {
			t.Errorf("time-outs are %v, and were %v", got, before)
		}
		looks := m.looks
		time.Sleep(time.Hour)
		synctest.Wait()
		if m.looks != looks {
			t.Errorf("looked %d times more, with nothing left to do", m.looks-looks)
		}
		if n := s.logs.FilterMessageSnippet("is restored").Len(); n != 2 || s.logs.FilterMessageSnippet("called off").Len() != 1 {
			t.Errorf("logged %v", s.logs.All())
		}
	})
}

func (m *machine) losses() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]int{}
	for nqn, s := range m.sessions {
		all[nqn] = s.loss
	}
	return all
}

// The plugin is stopped early in a shutdown. If that is called off, its successor must restore.
func TestShutdownRestoresWhatAnEarlierProcessLowered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.volume("idle", host.DevNum{Major: 259, Minor: 1}, true)
		m.volume("changed", host.DevNum{Major: 259, Minor: 2}, true)
		first := m.run(t)
		first.tell <- true
		m.want("the node shuts down", "nqn.test:idle=5", "nqn.test:changed=5")
		first.stop()
		m.want("the plugin stops")
		m.set(func() { m.sessions["nqn.test:changed"].loss = 30 }) // by an administrator
		second := m.run(t)
		m.want("the plugin is back")
		second.tell <- false
		m.want("there is no shutdown any more", "nqn.test:idle=-1")
	})
}

func TestShutdownUntoldDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.volume("v", host.DevNum{Major: 259, Minor: 1}, false)
		s := m.run(t)
		time.Sleep(time.Hour)
		synctest.Wait()
		s.stop()
		if m.looks > 0 || len(m.writes) > 0 || s.logs.Len() > 0 {
			t.Errorf("looked %d times, wrote %q, logged %v", m.looks, m.writes, s.logs.All())
		}
	})
}
