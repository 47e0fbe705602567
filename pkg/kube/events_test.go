package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	core "k8s.io/api/core/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube/kubetest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// poster is Events of node-a that run against a server with one attached volume.
type poster struct {
	*Events
	server *kubetest.Server
	logs   *observer.ObservedLogs
	reader *sdkmetric.ManualReader
	record *stage.Record
}

func startEvents(t *testing.T) *poster {
	t.Helper()
	s, _, seen := attachedCluster(t, testVolume)
	s.Put(kubetest.PVPath("pv-1"), kubetest.PV("pv-1", "rds.csi.srvlab.io", testVolume, "shop", "data", "claim-uid"))
	logCore, logs := observer.New(zap.DebugLevel)
	p := &poster{server: s, logs: logs, reader: sdkmetric.NewManualReader()}
	metrics, err := telemetry.NewMetrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(p.reader)))
	if err != nil {
		t.Fatal(err)
	}
	p.Events = NewEvents(EventsConfig{
		Client: open(t, s), Driver: "rds.csi.srvlab.io", Node: "node-a", Metrics: metrics, Log: zap.New(logCore),
		Pod: stage.Pod{Namespace: "kube-system", Name: "controller-0", UID: "pod-uid-0"},
	})
	p.record = &stage.Record{VolumeID: testVolume, NQN: testNQN, Attachment: &seen, Targets: []stage.Target{
		{Path: "/a", Pod: stage.Pod{Namespace: "shop", Name: "web-0", UID: "pod-uid-1"}}, {Path: "/b"},
	}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return p
}

// posted are the events that the server was sent, as kind namespace/name uid type reason.
func (p *poster) posted(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, r := range p.server.Seen() {
		if r.Method != http.MethodPost {
			continue
		}
		var e core.Event
		if err := json.Unmarshal([]byte(r.Body), &e); err != nil {
			t.Fatalf("%v: %s", err, r.Body)
		}
		o := e.InvolvedObject
		all = append(all, fmt.Sprintf("%s %s/%s %s %s %s", o.Kind, o.Namespace, o.Name, o.UID, e.Type, e.Reason))
		namespace := o.Namespace
		if namespace == "" {
			namespace = "default" // where the API server wants events of what has no namespace
		}
		if want := "/api/v1/namespaces/" + namespace + "/events"; strings.TrimSuffix(r.URI, "?timeout=5s") != want {
			t.Errorf("posted to %s, want %s", r.URI, want)
		}
		if e.Source.Component != "rds.csi.srvlab.io" || e.Source.Host != "node-a" {
			t.Errorf("source %+v", e.Source)
		}
	}
	slices.Sort(all)
	return all
}

func (p *poster) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: never; posted %q, log %v", what, p.posted(t), p.logs.All())
		}
	}
}

func TestEventsAreWhereAPersonLooks(t *testing.T) {
	const claim, pod, node = "PersistentVolumeClaim shop/data claim-uid ", "Pod shop/web-0 pod-uid-1 ", "Node /node-a node-a "
	for _, reason := range telemetry.EventReasons() {
		for name, unseen := range map[string]bool{"attachment seen": false, "attachment not seen": true} {
			t.Run(string(reason)+" "+name, func(t *testing.T) {
				p := startEvents(t)
				kind := "Warning "
				if !reason.Warning() {
					kind = "Normal "
				}
				if unseen {
					p.record.Attachment = nil
				}
				var want []string
				switch reason {
				case telemetry.EventArrayUnreachable, telemetry.EventArrayReachable:
					p.Node(reason, "message")
					p.Pod(reason, "message")
					want = []string{node, "Pod kube-system/controller-0 pod-uid-0 "}
				case telemetry.EventVolumeFenced:
					p.Volume(p.record, reason, "message")
					want = []string{node, claim, pod}
				default:
					p.Volume(p.record, reason, "message")
					want = []string{claim, pod}
				}
				for i := range want {
					want[i] += kind + string(reason)
				}
				slices.Sort(want)
				p.await(t, "all events", func() bool { return len(p.posted(t)) >= len(want) })
				if got := p.posted(t); !slices.Equal(got, want) {
					t.Errorf("posted %q, want %q", got, want)
				}
				p.await(t, "the count", func() bool { return p.counted(t, reason) == int64(len(want)) })
			})
		}
	}
}

func (p *poster) counted(t *testing.T, reason telemetry.EventReason) int64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := p.reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	for _, m := range data.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "rds_csi.events.posted" {
			for _, point := range sum.DataPoints {
				if v, _ := point.Attributes.Value("reason"); v.AsString() == string(reason) {
					return point.Value
				}
			}
		}
	}
	return -1
}

// An event never waits, whatever the API server does, and a flood stays small.
func TestAFloodOfEventsIsBounded(t *testing.T) {
	p := startEvents(t)
	for i := range 10 * queuedEvents {
		p.Volume(p.record, telemetry.EventStaleMount, fmt.Sprintf("message %d", i))
	}
	p.Pod(telemetry.EventArrayUnreachable, "last")
	p.await(t, "an event", func() bool { return len(p.posted(t)) > 1 })
	p.await(t, "an empty queue", func() bool { return len(p.queue) == 0 })
	events, questions := 0, 0
	for _, r := range p.server.Seen() {
		if r.Method == http.MethodGet {
			questions++
		} else {
			events++
		}
	}
	if events > 3*25 || questions > 10 {
		t.Errorf("%d events were posted, after %d questions", events, questions)
	}
}

func TestAnAPIServerThatHangsDelaysNobody(t *testing.T) {
	p := startEvents(t)
	p.server.Answer(kubetest.PVPath("pv-1"), kubetest.Hang(t))
	began := time.Now()
	for range 2 * queuedEvents {
		p.Volume(p.record, telemetry.EventStaleMount, "message")
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s to post what cannot be posted", took)
	}
}

func TestWithoutItsClaimTheOthersGetTheEvent(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{"forbidden": kubetest.Forbidden, "not found": kubetest.NotFound, "no claim": func(w http.ResponseWriter, _ *http.Request) {
		kubetest.WriteJSON(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": map[string]any{"name": "pv-1"}})
	}, "of another volume": pvAnswer("rds.csi.srvlab.io", "rds/csi-another"), "of another driver": pvAnswer("another.driver", testVolume)} {
		t.Run(name, func(t *testing.T) {
			p := startEvents(t)
			p.server.Answer(kubetest.PVPath("pv-1"), answer)
			p.Volume(p.record, telemetry.EventStaleMount, "message")
			p.await(t, "the Pod's event", func() bool { return len(p.posted(t)) == 1 })
			if got := p.posted(t); !strings.HasPrefix(got[0], "Pod shop/web-0 ") {
				t.Errorf("posted %q", got)
			}
		})
	}
}

func pvAnswer(driver, handle string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		kubetest.WriteJSON(w, http.StatusOK, kubetest.PV("pv-1", driver, handle, "other", "data", "claim-uid-2"))
	}
}

// A PersistentVolume can be made anew, for a claim in another namespace, whose people see its events.
func TestAClaimIsFoundAnewAfterAWhile(t *testing.T) {
	s, _, seen := attachedCluster(t, testVolume)
	e := NewEvents(EventsConfig{Client: open(t, s), Driver: "rds.csi.srvlab.io", Node: "node-a"})
	record := &stage.Record{VolumeID: testVolume, Attachment: &seen}
	claims := func(handle, namespace, want string) {
		t.Helper()
		s.Put(kubetest.PVPath("pv-1"), kubetest.PV("pv-1", "rds.csi.srvlab.io", handle, namespace, "data", "uid in "+namespace))
		claim, err := e.claim(t.Context(), record)
		if err != nil || claim.Namespace != want {
			t.Errorf("claim %+v, %v, want one in %s", claim, err, want)
		}
	}
	claims(testVolume, "shop", "shop")
	claims(testVolume, "other", "shop")
	for key, known := range e.claims {
		known.found = known.found.Add(-claimAge)
		e.claims[key] = known
	}
	claims(testSlot, "other", "other")
}

func TestEventsThatAreRefusedAreSaidOnceAndNotCounted(t *testing.T) {
	p := startEvents(t)
	p.server.Answer("/api/v1/namespaces/default/events", kubetest.Forbidden)
	for i := range 3 {
		p.Node(telemetry.EventArrayUnreachable, fmt.Sprint("message ", i))
	}
	p.Pod(telemetry.EventArrayUnreachable, "message")
	p.await(t, "the event that is not refused", func() bool { return p.counted(t, telemetry.EventArrayUnreachable) == 1 })
	lines := p.logs.FilterMessage("a Kubernetes event cannot be posted").All()
	if len(lines) != 1 || strings.Contains(fmt.Sprint(lines[0].ContextMap()), kubetest.Token) {
		t.Errorf("log lines %v", lines)
	}
}

func TestAPodThatIsNotKnownGetsNoEvent(t *testing.T) {
	e := NewEvents(EventsConfig{Client: open(t, kubetest.Start(t)), Driver: "d"})
	e.Pod(telemetry.EventArrayUnreachable, "message")
	if len(e.queue) != 0 {
		t.Error("an event on nothing waits to be posted")
	}
}

func TestALongMessageIsCut(t *testing.T) {
	got := shortened(strings.Repeat("ä", maxMessage))
	if len(got) > maxMessage || !strings.HasSuffix(got, "ä ...") {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-10:])
	}
	if got := shortened("short"); got != "short" {
		t.Errorf("got %q", got)
	}
}
