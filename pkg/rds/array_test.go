package rds_test

import (
	"cmp"
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

const (
	cluster = "c1"
	pool    = "storage-pool"
	gib     = 1 << 30
)

// rig is a simulated array with one client of it.
type rig struct {
	*rds.Array
	sim *rdssim.Array
}

func simulate(t *testing.T, o rdssim.Options) *rdssim.Array {
	t.Helper()
	o.Dir = filepath.Join(t.TempDir(), "array")
	if len(o.Pools) == 0 {
		o.Pools = []rdssim.Pool{{Name: pool, FS: "btrfs", Size: 100 * gib}}
	}
	sim, err := rdssim.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

func client(t *testing.T, sim *rdssim.Array, cfg rds.Config) *rds.Array {
	t.Helper()
	return rds.New(withConsole(t, sim, cfg, 1))
}

func withConsole(t *testing.T, sim *rdssim.Array, cfg rds.Config, sessions int) rds.Config {
	t.Helper()
	console, err := routeros.New(routeros.Config{
		Address: sim.SSHAddr(), User: "csi", KeyFile: sim.ClientKeyFile(), HostKey: sim.HostKeyFingerprint(),
		Sessions: sessions, Metrics: telemetry.Noop(), Log: zaptest.NewLogger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := console.Close(); err != nil && !isClosed(err) {
			t.Error(err)
		}
	})
	cfg.Console = console
	if cfg.Cluster == "" {
		cfg.Cluster = cluster
	}
	if cfg.Pool == "" {
		cfg.Pool = pool
	}
	cfg.Port = 4420
	cfg.Settle = cmp.Or(cfg.Settle, time.Millisecond)
	return cfg
}

func isClosed(err error) bool {
	_, ok := err.(*net.OpError)
	return ok
}

func newRig(t *testing.T, o rdssim.Options) rig {
	t.Helper()
	sim := simulate(t, o)
	return rig{Array: client(t, sim, rds.Config{HostACL: true}), sim: sim}
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (r rig) mustCreate(t *testing.T, name string, size uint64) rds.Volume {
	t.Helper()
	v, existed, err := r.Create(soon(t), rds.CreateRequest{Name: name, Size: rds.Size{Required: size}})
	if err != nil || existed {
		t.Fatalf("create %s: existed %v, %v", name, existed, err)
	}
	return v
}

func wantKind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if got := fault.KindOf(err); got != want {
		t.Fatalf("kind %q, want %q; error: %v", got, want, err)
	}
}

func node(name string) rds.Node {
	return rds.Node{ID: name + "/6ba7b810-9dad-11d1-80b4-00c04fd430c8", HostNQN: "nqn.2014-08.org.nvmexpress:uuid:" + name}
}
