package driver

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// TestSpanTrees writes down what a trace of each call looks like: the steps below it and the attributes of
// each. The fake kernel stands for the programs, so that there are no spans "exec …" below a step here.
func TestSpanTrees(t *testing.T) {
	s := newSpanRig(t)
	r := s.rig
	var v *volume
	created := func() error {
		resp, err := r.controller.CreateVolume(soon(t), createRequest("pvc-1", gib, mounted("ext4", nodeWriter)))
		if err == nil {
			v = &volume{Volume: resp.GetVolume(), rig: r, t: t, capability: mounted("ext4", nodeWriter)}
		}
		return err
	}
	s.call("CreateVolume", created)
	s.call("CreateVolume again", created)
	s.call("CreateVolume of more than there is", func() error {
		_, err := r.controller.CreateVolume(soon(t), createRequest("pvc-2", 1000*gib, mounted("ext4", nodeWriter)))
		return err
	})
	s.call("ControllerPublishVolume", func() error { return v.publishTo(r.a) })
	s.call("ControllerPublishVolume to a second node", func() error {
		_, err := r.controller.ControllerPublishVolume(soon(t), v.publishRequest(r.b))
		return err
	})
	s.call("NodeStageVolume of a fresh volume", func() error { return v.stage(r.a) })
	s.call("NodeStageVolume again", func() error { return v.stage(r.a) })
	s.call("NodePublishVolume", func() error { return v.nodePublish(r.a, "pod") })
	s.call("ControllerExpandVolume", func() error {
		_, err := r.controller.ControllerExpandVolume(soon(t), &csi.ControllerExpandVolumeRequest{
			VolumeId: v.VolumeId, CapacityRange: &csi.CapacityRange{RequiredBytes: 2 * gib}, VolumeCapability: v.capability,
		})
		return err
	})
	s.call("NodeExpandVolume", func() error {
		_, err := r.a.NodeExpandVolume(soon(t), &csi.NodeExpandVolumeRequest{
			VolumeId: v.VolumeId, VolumePath: v.target(r.a, "pod"), StagingTargetPath: v.stagingPath(r.a),
			CapacityRange: &csi.CapacityRange{RequiredBytes: 2 * gib}, VolumeCapability: v.capability,
		})
		return err
	})
	s.call("NodeUnpublishVolume", func() error { return v.nodeUnpublish(r.a, "pod") })
	s.call("NodeUnstageVolume", func() error { return v.unstage(r.a) })
	s.call("NodeUnstageVolume again", func() error { return v.unstage(r.a) })
	s.call("NodeStageVolume of a formatted volume", func() error { return v.stage(r.a) })
	s.call("NodeUnstageVolume of it", func() error { return v.unstage(r.a) })
	s.call("ControllerUnpublishVolume", func() error { return v.unpublishFrom(r.a) })
	s.call("NodeStageVolume of a volume that is not published", func() error { return v.stage(r.a) })
	s.call("DeleteVolume", func() error { return v.delete() })
	s.call("DeleteVolume again", func() error { return v.delete() })
	goldentest.Compare(t, filepath.Join("testdata", "spans.txt"), strings.Join(s.lines, "\n")+"\n")
}

// The reference shows the same; UPDATE_GOLDEN=1 writes it, after TestSpanTrees.
func TestTracesReference(t *testing.T) {
	trees, err := os.ReadFile(filepath.Join("testdata", "spans.txt"))
	if err != nil {
		t.Fatal(err)
	}
	goldentest.Section(t, "../../docs/reference/traces.md", "spans", "```text\n"+strings.TrimSpace(string(trees))+"\n```\n")
}

// spanRig is a rig whose spans are kept.
type spanRig struct {
	*rig
	recorder *tracetest.SpanRecorder
	seen     int
	lines    []string
}

func newSpanRig(t *testing.T) *spanRig {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	option := telemetry.ServerOption(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)), noopmetric.NewMeterProvider(), propagation.TraceContext{})
	return &spanRig{rig: newRigOn(t, rdssim.Options{}, option), recorder: recorder}
}

// call writes down the trace of one call.
func (s *spanRig) call(title string, call func() error) {
	s.t.Helper()
	err := call()
	var spans []sdktrace.ReadOnlySpan
	// The server's span ends just after the caller has its reply.
	for deadline := time.Now().Add(10 * time.Second); !slices.ContainsFunc(spans, isRoot); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: no server span", title)
		}
		spans = append(spans, s.spans()...)
	}
	result := "OK"
	if err != nil {
		result = "fails"
	}
	s.lines = append(s.lines, "# "+title+": "+result)
	s.lines = append(s.lines, tree(spans, trace.SpanID{}, 0)...)
	s.lines = append(s.lines, "")
}

func isRoot(span sdktrace.ReadOnlySpan) bool { return !span.Parent().SpanID().IsValid() }

// spans are those that have ended since the last time.
func (s *spanRig) spans() []sdktrace.ReadOnlySpan {
	all := s.recorder.Ended()
	fresh := all[s.seen:]
	s.seen = len(all)
	return fresh
}

// tree indents what is below parent, in the order it began.
func tree(spans []sdktrace.ReadOnlySpan, parent trace.SpanID, depth int) (lines []string) {
	var children []sdktrace.ReadOnlySpan
	for _, span := range spans {
		// Whether an exec has to wait for the session of the one before is a matter of microseconds.
		if span.Parent().SpanID() == parent && span.Name() != "ssh.session.wait" {
			children = append(children, span)
		}
	}
	slices.SortStableFunc(children, func(a, b sdktrace.ReadOnlySpan) int {
		return cmp.Compare(a.StartTime().UnixNano(), b.StartTime().UnixNano())
	})
	for _, span := range children {
		indent := strings.Repeat("    ", depth)
		lines = append(lines, indent+describeSpan(span))
		for _, event := range span.Events() {
			var keys []string
			for _, kv := range event.Attributes {
				keys = append(keys, string(kv.Key))
			}
			lines = append(lines, indent+"    event "+event.Name+" "+strings.Join(keys, ", "))
		}
		lines = append(lines, tree(spans, span.SpanContext().SpanID(), depth+1)...)
	}
	return lines
}

// closed are attributes whose value is one of a closed set; of others only the key is written down.
var closed = []string{
	"rds_csi.operation", "rds_csi.status", "error.type", "rds_csi.routeros.command", "rds_csi.volume.mode", "system.filesystem.type",
	"system.filesystem.mode",
}

func describeSpan(span sdktrace.ReadOnlySpan) string {
	text := fmt.Sprintf("%s %s", span.Name(), strings.ToUpper(span.SpanKind().String()))
	if len(span.Links()) > 0 {
		text += fmt.Sprintf(" links=%d", len(span.Links()))
	}
	if span.Status().Description != "" {
		text += " status=" + span.Status().Code.String()
	}
	attrs := map[string]string{}
	for _, kv := range span.Attributes() {
		attrs[string(kv.Key)] = ""
		if slices.Contains(closed, string(kv.Key)) {
			attrs[string(kv.Key)] = "=" + kv.Value.String()
		}
	}
	var list []string
	for key, value := range attrs {
		list = append(list, key+value)
	}
	slices.Sort(list)
	return text + "  {" + strings.Join(list, ", ") + "}"
}
