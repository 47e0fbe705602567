package export

import (
	"fmt"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// seldomRatio is the share of the loops' root spans that is kept.
const seldomRatio = 0.05

// sampler decides by name first: calls that kubelet and the sidecars repeat for ever are
// dropped (they are metered all the same), a recovery is always kept. A filter of otelgrpc
// would drop their metrics as well.
type sampler struct {
	base   sdktrace.Sampler
	seldom sdktrace.Sampler
}

func newSampler(base sdktrace.Sampler) sampler {
	return sampler{base: base, seldom: sdktrace.TraceIDRatioBased(seldomRatio)}
}

// ShouldSample implements sdktrace.Sampler.
func (s sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	switch {
	case p.Name == "mount.recovery":
		return sdktrace.AlwaysSample().ShouldSample(p)
	case chatty(p.Name), belowDropped(p), seldom(p.Name) && s.seldom.ShouldSample(p).Decision == sdktrace.Drop:
		return sdktrace.NeverSample().ShouldSample(p)
	default:
		return s.base.ShouldSample(p)
	}
}

// Description implements sdktrace.Sampler.
func (s sampler) Description() string { return "rds_csi{" + s.base.Description() + "}" }

// belowDropped tells that the span above, in this process, was dropped: its children would
// be traces without a root where base does not look at parents.
func belowDropped(p sdktrace.SamplingParameters) bool {
	parent := trace.SpanContextFromContext(p.ParentContext)
	return parent.IsValid() && !parent.IsRemote() && !parent.IsSampled()
}

func chatty(name string) bool {
	call, ok := strings.CutPrefix(name, "csi.v1.")
	if !ok {
		return false
	}
	service, method, _ := strings.Cut(call, "/")
	switch method {
	case "NodeGetInfo", "NodeGetVolumeStats", "ListVolumes", "GetCapacity", "ControllerGetVolume":
		return true
	default:
		return service == "Identity" || strings.HasSuffix(method, "GetCapabilities")
	}
}

func seldom(name string) bool {
	return name == "backend.refresh" || strings.HasPrefix(name, "reconcile.")
}

// sampler is that of OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG, by default
// parentbased_traceidratio with 1.0. The SDK reads them only where no sampler is set.
func (e *environment) sampler() (sdktrace.Sampler, error) {
	name := strings.ToLower(e.get("OTEL_TRACES_SAMPLER"))
	switch name {
	case "always_on":
		return newSampler(sdktrace.AlwaysSample()), nil
	case "always_off":
		return newSampler(sdktrace.NeverSample()), nil
	case "parentbased_always_on":
		return newSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())), nil
	case "parentbased_always_off":
		return newSampler(sdktrace.ParentBased(sdktrace.NeverSample())), nil
	}
	ratio, err := e.samplerRatio()
	if err != nil {
		return nil, err
	}
	switch name {
	case "traceidratio":
		return newSampler(sdktrace.TraceIDRatioBased(ratio)), nil
	case "", "parentbased_traceidratio":
		return newSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))), nil
	default:
		return nil, fmt.Errorf("OTEL_TRACES_SAMPLER=%s is unknown", name)
	}
}

func (e *environment) samplerRatio() (float64, error) {
	arg := e.get("OTEL_TRACES_SAMPLER_ARG")
	if arg == "" {
		return 1, nil
	}
	ratio, err := strconv.ParseFloat(arg, 64)
	if err != nil || !(ratio >= 0 && ratio <= 1) { // NaN is neither
		return 0, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG=%s is not a ratio between 0 and 1", arg)
	}
	return ratio, nil
}
