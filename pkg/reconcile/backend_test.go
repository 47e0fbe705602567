package reconcile_test

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/reconcile"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry/export"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watch runs a Backend over a simulated array until the test ends.
func watch(t *testing.T, sim *rdssim.Array) (*reconcile.Backend, *observer.ObservedLogs) {
	t.Helper()
	return watchPool(t, sim, "")
}

func watchPool(t *testing.T, sim *rdssim.Array, pool string, before ...func(*reconcile.Backend, *telemetry.Tracer)) (*reconcile.Backend, *observer.ObservedLogs) {
	t.Helper()
	console, err := routeros.New(routeros.Config{
		Address: sim.SSHAddr(), User: "csi", KeyFile: sim.ClientKeyFile(), HostKey: sim.HostKeyFingerprint(),
		Metrics: telemetry.Noop(), Log: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	spans, err := export.Setup(t.Context(), export.Config{Component: "controller", Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	backend := reconcile.NewBackend(rds.New(rds.Config{Console: console, Cluster: "c1", Pool: pool}), "rds", spans.Tracer(), zap.New(core))
	backend.Tell(toldTo{zap.New(core)})
	for _, prepare := range before {
		prepare(backend, spans.Tracer())
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		backend.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("Run goes on after the end of its context")
		}
		_ = console.Close() // its connection may be broken already
		if err := spans.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return backend, logs
}

// toldTo writes events into the log.
type toldTo struct{ log *zap.Logger }

func (l toldTo) Pod(reason telemetry.EventReason, message string) {
	l.log.Info("event", zap.String("reason", string(reason)), zap.String("message", message))
}

// events are the reasons of the events so far.
func events(logs *observer.ObservedLogs) (reasons []string) {
	for _, line := range logs.FilterMessage("event").All() {
		reasons = append(reasons, line.ContextMap()["reason"].(string))
	}
	return reasons
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: never", what)
		}
	}
}

func start(t *testing.T, o rdssim.Options) *rdssim.Array {
	t.Helper()
	sim, err := rdssim.Start(context.Background(), o)
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

func TestBackendTellsWhenTheArrayComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "array")
	sim := start(t, rdssim.Options{Dir: dir})
	address := sim.SSHAddr()
	if err := sim.Close(); err != nil {
		t.Fatal(err)
	}
	backend, logs := watch(t, sim)
	await(t, "known to be away", func() bool { c := backend.Check(); return c.Known && !c.Up })
	if ok, why := backend.Ready(); ok || !strings.Contains(why, "array rds: ") || !strings.Contains(why, mustHost(t, address)) {
		t.Errorf("ready %v, %q", ok, why)
	}
	start(t, rdssim.Options{Dir: dir, SSHAddress: address})
	await(t, "back", func() bool { ok, _ := backend.Ready(); return ok })
	await(t, "said once", func() bool { return logs.FilterMessage("the array can be used").Len() == 1 })
	await(t, "told", func() bool { return slices.Contains(events(logs), "ArrayReachable") })
	if got := events(logs); got[0] != "ArrayUnreachable" || got[len(got)-1] != "ArrayReachable" {
		t.Errorf("events %q", got)
	}
}

func TestBackendRefusesAnOldArrayInASentence(t *testing.T) {
	backend, logs := watch(t, start(t, rdssim.Options{Dir: filepath.Join(t.TempDir(), "array"), Version: "7.19.6"}))
	await(t, "a verdict", func() bool { return backend.Check().Known })
	if ok, why := backend.Ready(); ok || !strings.Contains(why, "7.21 or newer is needed") {
		t.Errorf("ready %v, %q", ok, why)
	}
	await(t, "logged", func() bool { return logs.FilterLevelExact(zap.ErrorLevel).Len() == 1 })
}

func TestBackendTellsHowFullTheArrayIs(t *testing.T) {
	sim := start(t, rdssim.Options{Dir: filepath.Join(t.TempDir(), "array"), Pools: []rdssim.Pool{{Name: "pool", FS: "xfs", Size: 1 << 30}}})
	backend, logs := watchPool(t, sim, "pool")
	await(t, "figures", func() bool { return backend.Check().Full != nil })
	if got := events(logs); len(got) != 0 { // nothing is news of an array that was never away
		t.Errorf("events %q", got)
	}
	check := backend.Check()
	if !check.Up || time.Since(check.At) > time.Minute {
		t.Errorf("%+v", check)
	}
	if pools := check.Full.Pools; len(pools) != 1 || pools[0].Name != "pool" || pools[0].Capacity != 1<<30 {
		t.Errorf("%+v", check.Full)
	}
}

// Volumes that are there can be used without it.
func TestAPoolThatIsNotThereDoesNotMakeTheArrayDown(t *testing.T) {
	sim := start(t, rdssim.Options{Dir: filepath.Join(t.TempDir(), "array")})
	backend, logs := watchPool(t, sim, "nowhere")
	await(t, "said", func() bool { return logs.FilterMessageSnippet("does not tell how full").Len() == 1 })
	if check := backend.Check(); !check.Up || check.Full != nil || !check.At.IsZero() {
		t.Errorf("%+v", check)
	}
	if ok, why := backend.Ready(); !ok {
		t.Errorf("not ready: %s", why)
	}
}

func mustHost(t *testing.T, address string) string {
	t.Helper()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return host
}
