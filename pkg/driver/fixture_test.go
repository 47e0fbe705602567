package driver

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

const (
	testDriver  = "rds.csi.srvlab.io"
	testArray   = "rds"
	testCluster = "c1"
	testPool    = "storage-pool"

	mib = 1 << 20
	gib = 1 << 30
)

// array is a simulated array and the directory in which it shows its exports.
type array struct {
	*rdssim.Array
	dir string
}

func newArray(t testing.TB, o rdssim.Options) *array {
	t.Helper()
	o.Dir = filepath.Join(t.TempDir(), "array")
	if len(o.Pools) == 0 {
		o.Pools = []rdssim.Pool{{Name: testPool, FS: "btrfs", Size: 100 * gib}}
	}
	sim, err := rdssim.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return &array{Array: sim, dir: o.Dir}
}

// export is what the array shows of an export in its directory.
type export struct {
	NQN   string   `json:"-"`
	Path  string   `json:"path"`
	Hosts []string `json:"hosts"`
	Size  uint64   `json:"size"`
}

func (a *array) exports(t testing.TB) []export {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(a.dir, "exports"))
	if err != nil {
		t.Fatal(err)
	}
	var all []export
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(a.dir, "exports", e.Name()))
		if strings.HasPrefix(e.Name(), ".") || errors.Is(err, fs.ErrNotExist) {
			continue // written, or withdrawn, at this very moment
		}
		x := export{NQN: e.Name()}
		if err == nil {
			err = json.Unmarshal(data, &x)
		}
		if err != nil {
			t.Fatalf("export %s: %v", e.Name(), err)
		}
		all = append(all, x)
	}
	return all
}

// item is what the array has in a slot.
func (a *array) item(slot string) (rdssim.Item, bool) {
	items := a.Items()
	i := slices.IndexFunc(items, func(it rdssim.Item) bool { return it.Slot == slot })
	if i < 0 {
		return rdssim.Item{}, false
	}
	return items[i], true
}

// controllerOf makes a controller with an SSH connection of its own to the array.
func controllerOf(t testing.TB, a *array, port int, change ...func(*rds.Config)) *ControllerConfig {
	t.Helper()
	console, err := routeros.New(routeros.Config{
		Address: a.SSHAddr(), User: "csi", KeyFile: a.ClientKeyFile(), HostKey: a.HostKeyFingerprint(),
		Metrics: telemetry.Noop(), Log: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := console.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	cfg := rds.Config{
		Console: console, Cluster: testCluster, Pool: testPool, Port: port, HostACL: true,
		Settle: 20 * time.Millisecond, // nothing goes on in the simulated array once it has dropped a connection
	}
	for _, c := range change {
		c(&cfg)
	}
	return &ControllerConfig{
		Array: rds.New(cfg), ClusterID: cfg.Cluster, HostACL: cfg.HostACL, Addresses: []string{"127.0.0.1"}, Port: port,
	}
}

// server is a driver that serves, and a client of it.
type server struct {
	csi.IdentityClient
	csi.ControllerClient
	csi.NodeClient
	driver *Driver
	logs   *observer.ObservedLogs
	reader *sdkmetric.ManualReader
	dial   []grpc.DialOption
	stop   func() // ends it before the test does
}

const bufAddress = "passthrough:///csi"

func serve(t testing.TB, controller *ControllerConfig, node *NodeConfig, options ...grpc.ServerOption) *server {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	s := &server{logs: logs, reader: sdkmetric.NewManualReader()}
	metrics, err := telemetry.NewMetrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.reader)))
	if err != nil {
		t.Fatal(err)
	}
	s.driver, err = NewDriver(DriverConfig{
		Name: testDriver, Version: "test", ArrayName: testArray, Controller: controller, Node: node,
		Metrics: metrics, Log: zap.New(core), ServerOptions: options,
	})
	if err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- s.driver.Serve(listener) }()
	s.dial = []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
	}
	conn, err := grpc.NewClient(bufAddress, s.dial...)
	if err != nil {
		t.Fatal(err)
	}
	s.IdentityClient, s.ControllerClient, s.NodeClient = csi.NewIdentityClient(conn), csi.NewControllerClient(conn), csi.NewNodeClient(conn)
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.driver.Stop(ctx)
		err := <-served
		if errors.Is(err, grpc.ErrServerStopped) { // a test without a call was faster than Serve
			err = nil
		}
		if err := errors.Join(err, conn.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(s.stop)
	return s
}

// rig is one array, a controller, and two nodes.
type rig struct {
	t          testing.TB
	array      *array
	controller *server
	a, b       *machine
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return newRigOn(t, rdssim.Options{})
}

func newRigOn(t testing.TB, o rdssim.Options, options ...grpc.ServerOption) *rig {
	t.Helper()
	sim := newArray(t, o)
	r := &rig{t: t, array: sim, a: newMachine(t, sim, "node-a", options...), b: newMachine(t, sim, "node-b", options...)}
	r.controller = serve(t, controllerOf(t, sim, r.a.portal.Port), nil, options...)
	return r
}

// soon is a context that ends long after any call of a working driver.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// operations reads how many operations ended with that status.
func (s *server) operations(t testing.TB, op telemetry.Operation, status telemetry.Status) int64 {
	t.Helper()
	return s.sum(t, "rds_csi.volume.operations", attribute.String("operation", string(op)), attribute.String("status", string(status)))
}

// sum adds up the points of a metric that have all these attributes.
func (s *server) sum(t testing.TB, name string, attrs ...attribute.KeyValue) (total int64) {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := s.reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			points, ok := m.Data.(metricdata.Sum[int64])
			if m.Name != name || !ok {
				continue
			}
			for _, p := range points.DataPoints {
				other := slices.ContainsFunc(attrs, func(want attribute.KeyValue) bool {
					got, found := p.Attributes.Value(want.Key)
					return !found || got != want.Value
				})
				if !other {
					total += p.Value
				}
			}
		}
	}
	return total
}
