package driver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func TestSecondOperationIsToldWhoIsAtIt(t *testing.T) {
	r := newRig(t)
	v, other := r.create(t, "v", gib, mounted("ext4", singleWriter)), r.create(t, "other", gib, mounted("ext4", singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	release := r.a.nvme.HoldCreates()
	staged := make(chan error, 1)
	go func() { staged <- v.stage(r.a) }()
	waitFor(t, "the kernel to be asked", func() bool { return len(r.a.nvme.Creates()) == 1 })
	for name, call := range map[string]func() error{
		"stage": func() error { return v.stage(r.a) }, "unstage": func() error { return v.unstage(r.a) },
		"publish": func() error { return v.nodePublish(r.a, "pod") }, "unpublish": func() error { return v.nodeUnpublish(r.a, "pod") },
		"by its short id": func() error {
			_, err := r.a.NodeUnstageVolume(soon(t), &csi.NodeUnstageVolumeRequest{VolumeId: v.slot(), StagingTargetPath: v.stagingPath(r.a)})
			return err
		},
	} {
		err := call()
		wantCode(t, err, codes.Aborted, v.VolumeId, "stage")
		if !regexp.MustCompile(`stage, for [0-9.]+(ms|s|m)`).MatchString(status.Convert(err).Message()) {
			t.Errorf("%s: %q does not say since when", name, err)
		}
	}
	wantCode(t, other.unstage(r.a), codes.OK) // others are not held up
	wantCode(t, v.publishTo(r.a), codes.OK)   // nor is the controller
	release()
	wantCode(t, <-staged, codes.OK)
	wantCode(t, v.stage(r.a), codes.OK)
	if n := r.a.sum(t, "rds_csi.volume.operations", attribute.String("error.type", string(fault.ReasonInFlight))); n != 5 {
		t.Errorf("%d operations counted as in_flight, want 5", n)
	}
}

func TestInFlightSaysSinceWhen(t *testing.T) {
	f := newInFlight()
	now := time.Unix(0, 0)
	f.now = func() time.Time { return now }
	end, err := f.begin("rds/v", string(telemetry.OpCreate))
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(83 * time.Second)
	if _, err = f.begin("rds/v", string(telemetry.OpDelete)); fault.KindOf(err) != fault.InFlight || !strings.Contains(err.Error(), "create, for 1m23s") {
		t.Errorf("got %v", err)
	}
	end()
	end, err = f.begin("rds/v", string(telemetry.OpDelete))
	if err != nil {
		t.Fatal(err)
	}
	end()
	if len(f.held) != 0 {
		t.Errorf("left: %v", f.held)
	}
}

func TestCreateAndDeleteOfOneVolumeMeet(t *testing.T) {
	r := newRig(t)
	slot := r.create(t, "v", 16*mib, mounted("", nodeWriter)).slot()
	end, err := r.controller.driver.controllerOps.begin(testArray+"/"+slot, string(telemetry.OpCreate))
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	_, err = r.controller.CreateVolume(soon(t), createRequest("v", 16*mib, mounted("", nodeWriter)))
	wantCode(t, err, codes.Aborted, "create")
	_, err = r.controller.DeleteVolume(soon(t), &csi.DeleteVolumeRequest{VolumeId: slot})
	wantCode(t, err, codes.Aborted, "create")
}

func TestPanicIsAnErrorOfOneCall(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "v", gib, mounted("ext4", singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	r.a.effects.arm(0, 0, func(_ int, name string) {
		if name == "mountinfo" {
			panic("a bug nobody has thought of")
		}
	})
	err := v.stage(r.a)
	wantCode(t, err, codes.Internal, "panicked")
	if strings.Contains(err.Error(), "nobody has thought of") || strings.Contains(err.Error(), ".go:") {
		t.Errorf("the caller is shown our insides: %v", err)
	}
	if logged := r.a.logs.FilterMessageSnippet("panic in " + csi.Node_NodeStageVolume_FullMethodName).All(); len(logged) != 1 ||
		!strings.Contains(fmt.Sprint(logged[0].ContextMap()), "node_stage") {
		t.Errorf("the log has %v, not the stack", logged)
	}
	if n := r.a.operations(t, telemetry.OpStage, telemetry.StatusFailure); n != 1 {
		t.Errorf("%d failures counted", n)
	}
	r.a.effects.arm(0, 0, nil)
	wantCode(t, v.stage(r.a), codes.OK)
	r.a.mustBeIdle(t)
}

// mustBeIdle fails the test if an operation is still noted as running.
func (s *server) mustBeIdle(t testing.TB) {
	t.Helper()
	for _, f := range []*inFlight{s.driver.controllerOps, s.driver.nodeOps} {
		f.mu.Lock()
		if len(f.held) != 0 {
			t.Errorf("still noted as being worked on: %v", f.held)
		}
		f.mu.Unlock()
	}
	if n := s.sum(t, "rds_csi.volume.operations.in_flight"); n != 0 {
		t.Errorf("%d operations counted as in flight", n)
	}
}

func TestManyCallsAtOnceLeaveNothingInFlight(t *testing.T) {
	r := newRig(t)
	const workers, volumes, calls = 8, 3, 30
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			dice := rand.New(rand.NewPCG(1, uint64(w)))
			for range calls {
				name := fmt.Sprint("v", dice.IntN(volumes))
				v := &volume{rig: r, t: t, capability: mounted("ext4", singleWriter)}
				resp, err := r.controller.CreateVolume(soon(t), createRequest(name, 16*mib, v.capability))
				if err != nil {
					continue
				}
				v.Volume = resp.GetVolume()
				calls := []func() error{
					func() error { return v.publishTo(r.a) }, func() error { return v.unpublishFrom(r.a) }, v.delete,
					func() error { return v.stage(r.a) }, func() error { return v.unstage(r.a) }, func() error { return v.nodePublish(r.a, "pod") },
				}
				if code := status.Code(calls[dice.IntN(len(calls))]()); code == codes.Internal || code == codes.Unknown {
					t.Errorf("%s: code %s", name, code)
				}
			}
		})
	}
	running.Wait()
	r.controller.mustBeIdle(t)
	r.a.mustBeIdle(t)
}

// One line for each call, at every level of detail, and no secret in any, nor in a span, a metric or an error.
func TestSecretsAreToldNowhere(t *testing.T) {
	s := newSpanRig(t)
	r := s.rig
	const canary = "c4n4ry-s3cr3t"
	secrets := map[string]string{"password": canary, canary: "x"}
	v := r.create(t, "v", gib, mounted("ext4", singleWriter))
	create := createRequest("w", gib, v.capability)
	create.Secrets, create.Parameters = secrets, map[string]string{keyPVCName: "data", keyPVCNamespace: "shop"}
	wantLine(t, r.controller, codes.OK, zapcore.InfoLevel, func() error { _, err := r.controller.CreateVolume(soon(t), create); return err })
	if line := r.controller.logs.All()[r.controller.logs.Len()-1].ContextMap(); line["pvc"] != "shop/data" {
		t.Errorf("the line does not name the claim: %v", line)
	}
	publish := v.publishRequest(r.a)
	publish.Secrets = secrets
	wantLine(t, r.controller, codes.OK, zapcore.InfoLevel, func() error {
		resp, err := r.controller.ControllerPublishVolume(soon(t), publish)
		v.published = resp.GetPublishContext()
		return err
	})
	stage := v.stageRequest(r.a)
	stage.Secrets = secrets
	wantLine(t, r.a.server, codes.OK, zapcore.InfoLevel, func() error { _, err := r.a.NodeStageVolume(soon(t), stage); return err })
	target := v.nodePublishRequest(r.a, "pod")
	target.Secrets = secrets
	wantLine(t, r.a.server, codes.OK, zapcore.InfoLevel, func() error { _, err := r.a.NodePublishVolume(soon(t), target); return err })
	wantLine(t, r.a.server, codes.OK, zapcore.InfoLevel, func() error {
		_, err := r.a.NodeExpandVolume(soon(t), &csi.NodeExpandVolumeRequest{VolumeId: v.VolumeId, VolumePath: v.stagingPath(r.a), Secrets: secrets})
		return err
	})
	wantLine(t, r.controller, codes.FailedPrecondition, zapcore.WarnLevel, func() error {
		_, err := r.controller.DeleteVolume(soon(t), &csi.DeleteVolumeRequest{VolumeId: v.VolumeId, Secrets: secrets})
		if strings.Contains(fmt.Sprint(err), canary) {
			t.Errorf("the secret is in %v", err)
		}
		return err
	})
	wantLine(t, r.controller, codes.OK, zapcore.InfoLevel, func() error {
		_, err := r.controller.ControllerExpandVolume(soon(t), &csi.ControllerExpandVolumeRequest{VolumeId: v.VolumeId, CapacityRange: &csi.CapacityRange{RequiredBytes: gib}, Secrets: secrets})
		return err
	})
	wantLine(t, r.controller, codes.OK, zapcore.DebugLevel, func() error {
		_, err := r.controller.ValidateVolumeCapabilities(soon(t), &csi.ValidateVolumeCapabilitiesRequest{VolumeId: v.VolumeId, VolumeCapabilities: []*csi.VolumeCapability{v.capability}, Secrets: secrets})
		return err
	})
	wantLine(t, r.controller, codes.OK, zapcore.InfoLevel, func() error {
		_, err := r.controller.ControllerUnpublishVolume(soon(t), &csi.ControllerUnpublishVolumeRequest{VolumeId: v.VolumeId, NodeId: r.b.id.String(), Secrets: secrets})
		return err
	})
	for _, server := range []*server{r.controller, r.a.server} {
		for _, line := range server.logs.All() {
			if text := fmt.Sprint(line.Message, line.ContextMap()); strings.Contains(text, canary) {
				t.Errorf("the secret is in %s", text)
			}
			if line.ContextMap()["request"] == nil {
				t.Errorf("no request at debug level in %v", line)
			}
		}
		var data metricdata.ResourceMetrics
		if err := server.reader.Collect(t.Context(), &data); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(fmt.Sprintf("%+v", data), canary) {
			t.Error("the secret is in a metric")
		}
	}
	spans := s.recorder.Ended()
	for _, span := range spans {
		if text := fmt.Sprint(span.Name(), span.Attributes(), span.Events(), span.Status(), span.Links()); strings.Contains(text, canary) {
			t.Errorf("the secret is in span %s", text)
		}
	}
	if len(spans) < 20 {
		t.Errorf("only %d spans: this shows nothing of them", len(spans))
	}
}

func wantLine(t *testing.T, s *server, code codes.Code, level zapcore.Level, call func() error) {
	t.Helper()
	before := s.logs.Len()
	wantCode(t, call(), code)
	lines := s.logs.All()[before:]
	if len(lines) != 1 || lines[0].Level != level || lines[0].ContextMap()["code"] != code.String() {
		t.Errorf("lines %v, want one at %s with code %s", lines, level, code)
	}
}

// What a call has to say when its time is over must reach a caller who waits no longer than that.
func TestHandlersHaveLessTimeThanTheirCallers(t *testing.T) {
	for callers, margin := range map[time.Duration]time.Duration{2 * time.Minute: 2 * time.Second, 10 * time.Second: time.Second} {
		ctx, cancel := context.WithTimeout(t.Context(), callers)
		defer cancel()
		outer, _ := ctx.Deadline()
		_, err := answerInTime(ctx, nil, nil, func(ctx context.Context, _ any) (any, error) {
			inner, ok := ctx.Deadline()
			if got := outer.Sub(inner); !ok || got > margin || got < margin*9/10 {
				t.Errorf("of %s, %s are kept for the answer, want %s", callers, got, margin)
			}
			return nil, nil
		})
		wantCode(t, err, codes.OK)
	}
	_, err := answerInTime(t.Context(), nil, nil, func(ctx context.Context, _ any) (any, error) {
		if _, ok := ctx.Deadline(); ok {
			t.Error("a call without a deadline got one")
		}
		return nil, nil
	})
	wantCode(t, err, codes.OK)
}
