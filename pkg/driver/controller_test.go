package driver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func TestCreateVolumeSizes(t *testing.T) {
	r := newRig(t)
	tests := []struct {
		required, limit int64
		want            int64 // 0 where it is refused
		code            codes.Code
	}{
		{gib + 1, 0, gib + 4096, codes.OK},
		{1536 * mib, 0, 1536 * mib, codes.OK},
		{1, 0, 4096, codes.OK},
		{0, 0, gib, codes.OK},
		{gib, gib, gib, codes.OK},
		{gib + 1, gib + 4096, gib + 4096, codes.OK},
		{gib + 1, gib + 4095, 0, codes.OutOfRange}, // below the rounded size
		{gib + 1, gib + 1, 0, codes.OutOfRange},
		{0, gib/2 + 1, gib / 2, codes.OK},
		{0, 4095, 0, codes.OutOfRange},
		{2 * gib, gib, 0, codes.InvalidArgument},
		{-1, 0, 0, codes.InvalidArgument},
		{1<<63 - 1, 0, 0, codes.OutOfRange},
		{1<<63 - 8192, 0, 0, codes.ResourceExhausted},
		{200 * gib, 0, 0, codes.ResourceExhausted},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d to %d", tt.required, tt.limit), func(t *testing.T) {
			req := createRequest(t.Name(), tt.required, mounted("", nodeWriter))
			req.Name = req.Name[strings.LastIndex(req.Name, "/")+1:]
			req.CapacityRange.LimitBytes = tt.limit
			for range 2 { // a repeat gives the same answer
				resp, err := r.controller.CreateVolume(soon(t), req)
				wantCode(t, err, tt.code)
				if got := resp.GetVolume().GetCapacityBytes(); got != tt.want {
					t.Errorf("%d bytes, want %d", got, tt.want)
				}
			}
			slot := rds.Slot(testCluster, req.Name)
			item, there := r.array.item(slot)
			if there != (tt.want != 0) || there && item.Size != uint64(tt.want) {
				t.Errorf("the array has %+v (%t)", item, there)
			}
			_, err := r.controller.DeleteVolume(soon(t), &csi.DeleteVolumeRequest{VolumeId: testArray + "/" + slot})
			wantCode(t, err, codes.OK)
		})
	}
}

func TestFullPoolSaysHowFull(t *testing.T) {
	r := newRig(t)
	r.create(t, "large", 60*gib, mounted("", nodeWriter))
	_, err := r.controller.CreateVolume(soon(t), createRequest("too large", 40*gib, mounted("", nodeWriter)))
	wantCode(t, err, codes.ResourceExhausted, fmt.Sprint(40*gib))
	if _, there := r.array.item(rds.Slot(testCluster, "too large")); there {
		t.Error("something of it is on the array")
	}
}

func TestExpandSizes(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "grows", gib, mounted("", nodeWriter))
	tests := []struct {
		required, limit, want int64
		code                  codes.Code
	}{
		{0, 0, gib, codes.InvalidArgument},
		{0, 3 * gib, gib, codes.OK}, // it fits as it is
		{gib, 0, gib, codes.OK},
		{gib + 1, 0, gib + 4096, codes.OK},
		{gib + 1, gib + 1, gib + 4096, codes.OutOfRange},
		{0, gib, gib + 4096, codes.OutOfRange}, // never smaller
		{2 * gib, 2 * gib, 2 * gib, codes.OK},
		{gib, 0, 2 * gib, codes.OK},
		{99 * gib, 0, 2 * gib, codes.ResourceExhausted},
		{-5, 0, 2 * gib, codes.InvalidArgument},
	}
	for _, tt := range tests {
		resp, err := r.controller.ControllerExpandVolume(soon(t), &csi.ControllerExpandVolumeRequest{
			VolumeId: v.VolumeId, CapacityRange: &csi.CapacityRange{RequiredBytes: tt.required, LimitBytes: tt.limit},
		})
		wantCode(t, err, tt.code)
		if err == nil && (resp.GetCapacityBytes() != tt.want || !resp.GetNodeExpansionRequired()) {
			t.Errorf("%d to %d: answer %v, want %d bytes", tt.required, tt.limit, resp, tt.want)
		}
		if item, _ := r.array.item(v.slot()); item.Size != uint64(tt.want) {
			t.Errorf("%d to %d: the array has %d bytes, want %d", tt.required, tt.limit, item.Size, tt.want)
		}
	}
	if n := r.controller.operations(t, telemetry.OpExpand, telemetry.StatusNoop); n != 3 {
		t.Errorf("%d noops, want 3", n)
	}
}

// What the spec says of ids that cannot be, for each RPC of the controller that takes one.
func TestImpossibleIDs(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "real", gib, mounted("", nodeWriter))
	tests := []struct {
		id              string
		delete, publish codes.Code
	}{
		{"", codes.InvalidArgument, codes.InvalidArgument},
		{"no such volume", codes.OK, codes.NotFound},
		{`rds/x"; /disk remove [find]`, codes.OK, codes.NotFound},
		{"rds/$[/system/reset]", codes.OK, codes.NotFound},
		{strings.Repeat("x", 129), codes.OK, codes.NotFound},
		{"rds/csi-" + strings.Repeat("0", 28), codes.OK, codes.NotFound},
		{"rds/usb1", codes.OK, codes.NotFound},
		{"other/csi-" + strings.Repeat("0", 28), codes.FailedPrecondition, codes.FailedPrecondition},
	}
	for _, tt := range tests {
		t.Run(tt.id, func(t *testing.T) {
			_, err := r.controller.DeleteVolume(soon(t), &csi.DeleteVolumeRequest{VolumeId: tt.id})
			wantCode(t, err, tt.delete)
			_, err = r.controller.ControllerUnpublishVolume(soon(t), &csi.ControllerUnpublishVolumeRequest{VolumeId: tt.id, NodeId: r.a.id.String()})
			wantCode(t, err, tt.delete)
			req := v.publishRequest(r.a)
			req.VolumeId = tt.id
			_, err = r.controller.ControllerPublishVolume(soon(t), req)
			wantCode(t, err, tt.publish)
			_, err = r.controller.ControllerGetVolume(soon(t), &csi.ControllerGetVolumeRequest{VolumeId: tt.id})
			wantCode(t, err, tt.publish)
			_, err = r.controller.ControllerExpandVolume(soon(t), &csi.ControllerExpandVolumeRequest{VolumeId: tt.id, CapacityRange: &csi.CapacityRange{RequiredBytes: 1}})
			wantCode(t, err, tt.publish)
			_, err = r.controller.ValidateVolumeCapabilities(soon(t), &csi.ValidateVolumeCapabilitiesRequest{VolumeId: tt.id, VolumeCapabilities: []*csi.VolumeCapability{v.capability}})
			wantCode(t, err, tt.publish)
		})
	}
	for id, code := range map[string]codes.Code{"": codes.InvalidArgument, "node": codes.NotFound, "node/x": codes.NotFound, `n";/` + r.a.id.HostID(): codes.NotFound} {
		req := v.publishRequest(r.a)
		req.NodeId = id
		_, err := r.controller.ControllerPublishVolume(soon(t), req)
		wantCode(t, err, code)
	}
	wantCode(t, v.publishTo(r.a), codes.OK)
	_, err := r.controller.ControllerUnpublishVolume(soon(t), &csi.ControllerUnpublishVolumeRequest{VolumeId: v.VolumeId, NodeId: "no node of ours"})
	wantCode(t, err, codes.OK)
	if item, _ := r.array.item(v.slot()); !item.Exported {
		t.Error("unpublishing from a node that cannot exist ended the export")
	}
}

func TestPublishedVolumeIsNotDeletedAndSaysWhoHasIt(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "held", gib, mounted("", nodeWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	wantCode(t, v.delete(), codes.FailedPrecondition, r.a.id.String())
	first := v.published
	wantCode(t, v.publishTo(r.a), codes.OK) // a repeat keeps the token
	if first[keyNQN] != v.nqn() {
		t.Errorf("the NQN changed from %s to %s", first[keyNQN], v.nqn())
	}
	req := v.publishRequest(r.b)
	_, err := r.controller.ControllerPublishVolume(soon(t), req)
	wantCode(t, err, codes.FailedPrecondition, r.a.id.String())
	req = v.publishRequest(r.a)
	req.Readonly = true
	_, err = r.controller.ControllerPublishVolume(soon(t), req)
	wantCode(t, err, codes.InvalidArgument, "readonly")
	_, err = r.controller.ControllerUnpublishVolume(soon(t), &csi.ControllerUnpublishVolumeRequest{VolumeId: v.VolumeId}) // from every node
	wantCode(t, err, codes.OK)
	wantCode(t, v.delete(), codes.OK)
	wantCode(t, v.delete(), codes.OK)
}

func TestForeignDisksAreUsedButNeverDestroyed(t *testing.T) {
	r := newRig(t)
	if out := r.array.Run(soon(t), `/disk add type=file slot=mine file-path=/storage-pool/mine.img file-size=64M nvme-tcp-export=no`); out != "" {
		t.Fatal(out)
	}
	v := &volume{Volume: &csi.Volume{VolumeId: "mine"}, rig: r, t: t, capability: mounted("ext4", nodeWriter)}
	wantCode(t, v.delete(), codes.FailedPrecondition)
	_, err := r.controller.ControllerExpandVolume(soon(t), &csi.ControllerExpandVolumeRequest{VolumeId: "mine", CapacityRange: &csi.CapacityRange{RequiredBytes: gib}})
	wantCode(t, err, codes.FailedPrecondition)
	_, err = r.controller.ControllerGetVolume(soon(t), &csi.ControllerGetVolumeRequest{VolumeId: "rds/mine"})
	wantCode(t, err, codes.OK)
	item, there := r.array.item("mine")
	if !there || item.Size != 64*mib {
		t.Errorf("the foreign disk is now %+v (%t)", item, there)
	}
}

func TestArrayChangedBehindOurBack(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "file goes", gib, mounted("", nodeWriter))
	if err := r.array.RemoveFile(v.slot()); err != nil {
		t.Fatal(err)
	}
	wantCode(t, v.publishTo(r.a), codes.FailedPrecondition, "backing file")
	w := r.create(t, "item goes", gib, mounted("", nodeWriter))
	if err := r.array.RemoveBehindBack(w.slot()); err != nil {
		t.Fatal(err)
	}
	wantCode(t, w.publishTo(r.a), codes.NotFound)
	_, err := r.controller.CreateVolume(soon(t), createRequest("item goes", gib, w.capability))
	wantCode(t, err, codes.FailedPrecondition)
	wantCode(t, w.delete(), codes.OK)
	wantCode(t, v.delete(), codes.OK)
}
