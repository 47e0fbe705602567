package driver

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// All instances of the plugin say the same of it, whichever half they are (CSI spec, GetPluginCapabilities).
func TestBothHalvesAnnounceOnePlugin(t *testing.T) {
	r := newRig(t)
	ofController, err := r.controller.GetPluginCapabilities(soon(t), &csi.GetPluginCapabilitiesRequest{})
	wantCode(t, err, codes.OK)
	ofNode, err := r.a.GetPluginCapabilities(soon(t), &csi.GetPluginCapabilitiesRequest{})
	wantCode(t, err, codes.OK)
	if !proto.Equal(ofController, ofNode) || len(ofNode.GetCapabilities()) != 3 {
		t.Errorf("the controller says %v, the node %v", ofController, ofNode)
	}
	for _, s := range []*server{r.controller, r.a.server} {
		info, err := s.GetPluginInfo(soon(t), &csi.GetPluginInfoRequest{})
		wantCode(t, err, codes.OK)
		if info.GetName() != testDriver || info.GetVendorVersion() != "test" {
			t.Errorf("info %v", info)
		}
		probe, err := s.Probe(soon(t), &csi.ProbeRequest{})
		wantCode(t, err, codes.OK)
		if !probe.GetReady().GetValue() {
			t.Error("it serves, and says that it does not")
		}
	}
}

func TestEachHalfServesOnlyItsOwn(t *testing.T) {
	r := newRig(t)
	_, err := r.a.CreateVolume(soon(t), createRequest("v", gib, mounted("", nodeWriter)))
	wantCode(t, err, codes.Unimplemented)
	_, err = r.controller.NodeGetInfo(soon(t), &csi.NodeGetInfoRequest{})
	wantCode(t, err, codes.Unimplemented)
	_, err = r.controller.CreateSnapshot(soon(t), &csi.CreateSnapshotRequest{Name: "s"})
	wantCode(t, err, codes.Unimplemented)
	info, err := r.a.NodeGetInfo(soon(t), &csi.NodeGetInfoRequest{})
	wantCode(t, err, codes.OK)
	if info.GetNodeId() != r.a.id.String() {
		t.Errorf("node id %s", info.GetNodeId())
	}
	if _, err := NewDriver(DriverConfig{}); err == nil {
		t.Error("a driver of nothing was made")
	}
}

func TestValidateAndCapacity(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "v", gib, mounted("", nodeWriter))
	for _, tt := range []struct {
		capability *csi.VolumeCapability
		params     map[string]string
		confirmed  bool
	}{
		{mounted("xfs", singleWriter), nil, true},
		{block(sharedWriter), map[string]string{"pool": testPool}, true},
		{mounted("xfs", sharedWriter), nil, false},
		{mounted("xfs", singleWriter), map[string]string{"unknown": "x"}, false},
	} {
		resp, err := r.controller.ValidateVolumeCapabilities(soon(t), &csi.ValidateVolumeCapabilitiesRequest{
			VolumeId: v.VolumeId, VolumeCapabilities: []*csi.VolumeCapability{tt.capability}, Parameters: tt.params,
		})
		wantCode(t, err, codes.OK)
		if (resp.GetConfirmed() != nil) != tt.confirmed || (resp.GetMessage() == "") != tt.confirmed {
			t.Errorf("%v %v: %v", tt.capability, tt.params, resp)
		}
	}
	before, err := r.controller.GetCapacity(soon(t), &csi.GetCapacityRequest{})
	wantCode(t, err, codes.OK)
	r.create(t, "w", 10*gib, mounted("", nodeWriter))
	after, err := r.controller.GetCapacity(soon(t), &csi.GetCapacityRequest{VolumeCapabilities: []*csi.VolumeCapability{mounted("ext4", nodeWriter)}})
	wantCode(t, err, codes.OK)
	if before.GetAvailableCapacity()-after.GetAvailableCapacity() != 10*gib || after.GetMaximumVolumeSize().GetValue() != after.GetAvailableCapacity() {
		t.Errorf("before %v, after 10 GiB %v", before, after)
	}
	none, err := r.controller.GetCapacity(soon(t), &csi.GetCapacityRequest{VolumeCapabilities: []*csi.VolumeCapability{mounted("ext4", sharedWriter)}})
	wantCode(t, err, codes.OK)
	if none.GetAvailableCapacity() != 0 {
		t.Errorf("there is no room for what cannot be made, it says %v", none)
	}
	_, err = r.controller.GetCapacity(soon(t), &csi.GetCapacityRequest{Parameters: map[string]string{"pool": "no-such-pool"}})
	wantCode(t, err, codes.InvalidArgument, "no-such-pool")
}
