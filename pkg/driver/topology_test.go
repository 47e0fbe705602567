package driver

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
)

const testSegment = testDriver + "/array-" + testArray

func at(key, value string) *csi.Topology {
	return &csi.Topology{Segments: map[string]string{key: value}}
}

func TestNodesAndVolumesBearTheArraysSegment(t *testing.T) {
	r := newRig(t)
	info, err := r.a.NodeGetInfo(soon(t), &csi.NodeGetInfoRequest{})
	wantCode(t, err, codes.OK)
	if s := info.GetAccessibleTopology().GetSegments(); len(s) != 1 || s[testSegment] != "true" {
		t.Errorf("the node is at %v", s)
	}
	v := r.create(t, "v", gib, mounted("", nodeWriter))
	got, err := r.controller.ControllerGetVolume(soon(t), &csi.ControllerGetVolumeRequest{VolumeId: v.VolumeId})
	wantCode(t, err, codes.OK)
	for _, volume := range []*csi.Volume{v.Volume, got.GetVolume()} {
		if where := volume.GetAccessibleTopology(); len(where) != 1 || where[0].GetSegments()[testSegment] != "true" {
			t.Errorf("the volume is accessible from %v", where)
		}
	}
}

func TestVolumesAreMadeOnlyWhereTheArrayIs(t *testing.T) {
	r := newRig(t)
	here, elsewhere := at(testSegment, "true"), at(testDriver+"/array-other", "true")
	for name, tt := range map[string]struct {
		requisite []*csi.Topology
		want      codes.Code
	}{
		"nowhere":         {nil, codes.OK},
		"here":            {[]*csi.Topology{here}, codes.OK},
		"here or there":   {[]*csi.Topology{elsewhere, here}, codes.OK},
		"elsewhere":       {[]*csi.Topology{elsewhere}, codes.ResourceExhausted},
		"not here":        {[]*csi.Topology{at(testSegment, "false")}, codes.ResourceExhausted},
		"another's label": {[]*csi.Topology{at("topology.kubernetes.io/zone", "a")}, codes.ResourceExhausted},
	} {
		req := createRequest("of "+name, gib, mounted("", nodeWriter))
		req.AccessibilityRequirements = &csi.TopologyRequirement{Requisite: tt.requisite}
		_, err := r.controller.CreateVolume(soon(t), req)
		wantCode(t, err, tt.want)
	}
	for _, tt := range []struct {
		where *csi.Topology
		room  bool
	}{{nil, true}, {here, true}, {elsewhere, false}} {
		resp, err := r.controller.GetCapacity(soon(t), &csi.GetCapacityRequest{AccessibleTopology: tt.where})
		wantCode(t, err, codes.OK)
		if (resp.GetAvailableCapacity() > 0) != tt.room {
			t.Errorf("at %v there are %d bytes", tt.where, resp.GetAvailableCapacity())
		}
	}
}

func TestTheVolumeLimitIsPublished(t *testing.T) {
	r := newRig(t)
	cfg := r.a.config()
	cfg.MaxVolumes = 42
	r.a.stop()
	info, err := serve(t, nil, cfg).NodeGetInfo(soon(t), &csi.NodeGetInfoRequest{})
	wantCode(t, err, codes.OK)
	if info.GetMaxVolumesPerNode() != 42 {
		t.Errorf("limit %d", info.GetMaxVolumesPerNode())
	}
}

// The name of an array is part of a label's name in Kubernetes.
func TestArrayNamesFitIntoALabel(t *testing.T) {
	for name, valid := range map[string]bool{"rds": true, "a": true, "rds-1.b_c": true, "": false, "rds-": false, "rds.": false, "-rds": false, "r/ds": false} {
		if ValidArrayName(name) != valid {
			t.Errorf("%q: valid is %t", name, !valid)
		}
	}
}
