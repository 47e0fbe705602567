package export

import (
	"context"
	"os"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// parent is a context with a span above that was sampled or not, here or elsewhere.
func parent(t *testing.T, sampled, remote bool) context.Context {
	t.Helper()
	config := trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, Remote: remote}
	if sampled {
		config.TraceFlags = trace.FlagsSampled
	}
	return trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(config))
}

func TestSampling(t *testing.T) {
	const never, always = "OTEL_TRACES_SAMPLER=parentbased_always_off", "OTEL_TRACES_SAMPLER=always_on"
	root := t.Context()
	tests := []struct {
		name string
		span string
		ctx  context.Context
		env  []string
		want bool
	}{
		{"default", stageSpan, root, nil, true},
		{"caller sampled", stageSpan, parent(t, true, true), nil, true},
		{"caller not sampled", stageSpan, parent(t, false, true), nil, false},
		{"child of sampled", "nvme.connect", parent(t, true, false), nil, true},
		{"chatty, caller sampled", "csi.v1.Identity/Probe", parent(t, true, true), nil, false},
		{"GetPluginInfo", "csi.v1.Identity/GetPluginInfo", root, nil, false},
		{"node capabilities", "csi.v1.Node/NodeGetCapabilities", root, nil, false},
		{"controller capabilities", "csi.v1.Controller/ControllerGetCapabilities", root, nil, false},
		{"NodeGetInfo", "csi.v1.Node/NodeGetInfo", root, nil, false},
		{"NodeGetVolumeStats", "csi.v1.Node/NodeGetVolumeStats", root, nil, false},
		{"ListVolumes", "csi.v1.Controller/ListVolumes", root, nil, false},
		{"GetCapacity", "csi.v1.Controller/GetCapacity", root, nil, false},
		{"ControllerGetVolume", "csi.v1.Controller/ControllerGetVolume", root, nil, false},
		{"ListSnapshots is not chatty", "csi.v1.Controller/ListSnapshots", root, nil, true},
		{"another service's name", "grpc.health.v1.Health/GetCapacity", root, nil, true},
		{"chatty with always_on", "csi.v1.Node/NodeGetVolumeStats", root, []string{always}, false},
		{"child of a dropped call with always_on", "exec df", parent(t, false, false), []string{always}, false},
		{"always_on asks no caller", stageSpan, parent(t, false, true), []string{always}, true},
		{"off", stageSpan, root, []string{"OTEL_TRACES_SAMPLER=always_off"}, false},
		{"off unless the caller is on", stageSpan, root, []string{never}, false},
		{"off, but the caller is on", stageSpan, parent(t, true, true), []string{never}, true},
		{"parentbased_always_on", stageSpan, parent(t, false, true), []string{"OTEL_TRACES_SAMPLER=parentbased_always_on"}, false},
		{"ratio 0", stageSpan, root, []string{"OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0"}, false},
		{"parentbased ratio 0", stageSpan, parent(t, true, true), []string{"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0"}, true},
		{"ratio alone", stageSpan, root, []string{"OTEL_TRACES_SAMPLER_ARG=0"}, false},
		{"a recovery at ratio 0", "mount.recovery", root, []string{"OTEL_TRACES_SAMPLER_ARG=0"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			setEnv(t, tt.env...)
			sampler, err := (&environment{getenv: os.Getenv}).sampler()
			if err != nil {
				t.Fatal(err)
			}
			result := sampler.ShouldSample(sdktrace.SamplingParameters{
				ParentContext: tt.ctx, TraceID: trace.TraceID{0xff, 15: 0xff, 8: 0x7f}, Name: tt.span,
			})
			if got := result.Decision == sdktrace.RecordAndSample; got != tt.want {
				t.Errorf("sampled %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLoopsAreSampledSeldom(t *testing.T) {
	setEnv(t)
	sampler, err := (&environment{getenv: os.Getenv}).sampler()
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	const loops = 10000
	for i := range loops {
		id := trace.TraceID{8: byte(i >> 6), 9: byte(i << 2), 15: 1} // evenly spread over what the ratio looks at
		result := sampler.ShouldSample(sdktrace.SamplingParameters{ParentContext: t.Context(), TraceID: id, Name: "backend.refresh"})
		if result.Decision == sdktrace.RecordAndSample {
			kept++
		}
	}
	if kept == 0 || kept > loops/5 {
		t.Errorf("%d of %d kept", kept, loops)
	}
}
