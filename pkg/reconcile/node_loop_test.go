package reconcile

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/driver"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// volumes are conditions that a test sets, and what the loop did about them.
type volumes struct {
	mu    sync.Mutex
	state map[string]driver.Condition
	err   error
	hung  chan struct{} // a look waits until it is closed
	heal  func(ctx context.Context, id string) error
	tries map[string][]time.Time

	unblocked    []string
	unblockHangs bool // until its context ends
}

// told are the events on the Node.
type told struct {
	mu       sync.Mutex
	reasons  []telemetry.EventReason
	messages []string
}

func (e *told) Node(reason telemetry.EventReason, message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reasons, e.messages = append(e.reasons, reason), append(e.messages, message)
}

func (v *volumes) Look(context.Context) ([]driver.Condition, error) {
	v.mu.Lock()
	hung := v.hung
	v.mu.Unlock()
	if hung != nil {
		<-hung
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []driver.Condition
	for _, id := range slices.Sorted(maps.Keys(v.state)) {
		all = append(all, v.state[id])
	}
	return all, v.err
}

// hang makes looks wait; nil ends that for those to come.
func (v *volumes) hang(until chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hung = until
}

func (v *volumes) Heal(ctx context.Context, id string) error {
	v.mu.Lock()
	v.tries[id] = append(v.tries[id], time.Now())
	v.mu.Unlock()
	return v.heal(ctx, id)
}

func (v *volumes) Unblock(ctx context.Context, id string) error {
	v.mu.Lock()
	v.unblocked = append(v.unblocked, id)
	hangs := v.unblockHangs
	v.mu.Unlock()
	if hangs {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (v *volumes) set(id string, c driver.Condition) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c.VolumeID = id
	v.state[id] = c
}

func (v *volumes) triesOf(id string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.tries[id])
}

var (
	healthy = driver.Condition{Link: nvme.LinkLive, Health: mount.Health{State: telemetry.MountHealthy}}
	away    = driver.Condition{Link: nvme.LinkAway, Health: mount.Health{State: telemetry.MountUnknown}}
	gone    = driver.Condition{Link: nvme.LinkGone, Heal: true, Health: mount.Health{State: telemetry.MountStale, Reason: telemetry.StaleDeviceGone}}
)

// loop runs a Node over volumes until the test's bubble ends it.
type loop struct {
	*Node
	volumes *volumes
	told    *told
	wake    chan struct{}
	reader  *sdkmetric.ManualReader
	logs    *observer.ObservedLogs
	stop    func()
}

func startLoop(t *testing.T) *loop {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	l := &loop{
		told: &told{}, wake: make(chan struct{}, 1), reader: sdkmetric.NewManualReader(), logs: logs,
		volumes: &volumes{
			state: map[string]driver.Condition{}, tries: map[string][]time.Time{},
			heal: func(context.Context, string) error { return nil },
		},
	}
	metrics, err := telemetry.NewMetrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(l.reader)))
	if err != nil {
		t.Fatal(err)
	}
	l.Node = NewNode(NodeConfig{
		Volumes: l.volumes, Wake: l.wake, Metrics: metrics, Log: zap.New(core), Tracer: telemetry.NewTracer(noop.NewTracerProvider()),
		Events: l.told,
	})
	if err := metrics.ObserveMounts(l.Check); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run(ctx)
	}()
	l.stop = func() {
		cancel()
		<-done
	}
	return l
}

// after lets the bubble's time pass.
func after(d time.Duration) {
	time.Sleep(d) // the clock of the bubble
	synctest.Wait()
}

// value is the sum of the series of a metric that have the attribute, or their count for a histogram.
func (l *loop) value(t *testing.T, name, key, want string) (total float64, found bool) {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := l.reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	for _, m := range data.ScopeMetrics[0].Metrics {
		if m.Name != name {
			continue
		}
		switch points := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range points.DataPoints {
				if v, _ := p.Attributes.Value("status"); key == "" || v.AsString() == want {
					total, found = total+float64(p.Value), true
				}
			}
		case metricdata.Gauge[int64]:
			for _, p := range points.DataPoints {
				if v, _ := p.Attributes.Value("state"); v.AsString() == want {
					total, found = total+float64(p.Value), true
				}
			}
		case metricdata.Gauge[float64]:
			total, found = points.DataPoints[0].Value, true
		case metricdata.Histogram[float64]:
			for _, p := range points.DataPoints {
				if v, _ := p.Attributes.Value("status"); v.AsString() == want {
					total, found = total+p.Sum, true
				}
			}
		}
	}
	return total, found
}

func (l *loop) want(t *testing.T, name, key, value string, want float64) {
	t.Helper()
	if got, _ := l.value(t, name, key, value); got != want {
		t.Errorf("%s{%s=%q} = %v, want %v", name, key, value, got, want)
	}
}
