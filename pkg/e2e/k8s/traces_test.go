package k8s

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry/otlptest"
)

// traces wants a claim's way from CreateVolume to the mount as traces in an OTLP receiver outside the cluster, by the
// chart's own values. The node's trace links to the one of the controller's publish that it follows.
func (s *suite) traces(t *testing.T) {
	receiver := otlptest.StartReceiverAt(t, nodeIP+":4317")
	helm(t, "upgrade", release, chartDir, "--set=telemetry.otlpEndpoint=http://"+nodeIP+":4317")
	for _, object := range []string{"deployment/" + release + "-controller", "daemonset/" + release + "-node"} {
		kubectl(t, "rollout", "status", object, "--namespace="+namespace, "--timeout=200s")
	}
	space := newSpace(t)
	space.apply(claim{name: "data"}.yaml(), pod{name: "main", claims: []string{"data"}, script: "true"}.yaml())
	space.wait("pod/main", "condition=Ready")
	volume := kubectl(t, "get", "pv", "-o", `jsonpath={.items[?(@.spec.claimRef.namespace=="`+space.name+`")].spec.csi.volumeHandle}`)

	var publish, stage *trace.Span
	await(t, "the traces of "+volume, func() (bool, string) {
		spans := receiver.Spans()
		publish = ofVolume(spans, "csi.v1.Controller/ControllerPublishVolume", volume)
		stage = ofVolume(spans, "csi.v1.Node/NodeStageVolume", volume)
		// CreateVolume's span has no id: there was none when it began. This receiver has seen one claim only.
		made := slices.ContainsFunc(spans, func(span *trace.Span) bool { return span.GetName() == "csi.v1.Controller/CreateVolume" })
		mounted := ofVolume(spans, "csi.v1.Node/NodePublishVolume", volume)
		return made && publish != nil && stage != nil && mounted != nil, fmt.Sprintf("%d spans: %v %v %v %v", len(spans), made, publish != nil, stage != nil, mounted != nil)
	})
	linked := false
	for _, link := range stage.GetLinks() {
		linked = linked || bytes.Equal(link.GetTraceId(), publish.GetTraceId())
	}
	if !linked {
		t.Errorf("NodeStageVolume links to %v, not to the publish's trace %x", stage.GetLinks(), publish.GetTraceId())
	}
}

// ofVolume is the span of a call about a volume.
func ofVolume(spans []*trace.Span, name, volume string) *trace.Span {
	for _, span := range spans {
		if span.GetName() != name {
			continue
		}
		for _, attribute := range span.GetAttributes() {
			if attribute.GetKey() == "container.csi.volume.id" && attribute.GetValue().GetStringValue() == volume {
				return span
			}
		}
	}
	return nil
}
