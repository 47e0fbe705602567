package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/driver"
)

func (l *life) capability() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: l.path.fsType}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER},
	}
}

func (l *life) info(ctx context.Context) (string, error) {
	resp, err := l.nodes.NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
	l.nodeID = resp.GetNodeId()
	return l.nodeID, err
}

func (l *life) create(ctx context.Context) (string, error) {
	resp, err := l.controller.CreateVolume(ctx, &csi.CreateVolumeRequest{
		Name: "pvc-demo", VolumeCapabilities: []*csi.VolumeCapability{l.capability()},
		CapacityRange: &csi.CapacityRange{RequiredBytes: demoSize},
		Parameters: map[string]string{
			"pool": demoPool, "csi.storage.k8s.io/pvc/name": "demo", "csi.storage.k8s.io/pvc/namespace": "default", "csi.storage.k8s.io/pv/name": "pvc-demo",
		},
	})
	if err != nil {
		return "", err
	}
	l.volume = resp.GetVolume()
	l.begun(l.remove)
	return fmt.Sprintf("%s, %s", l.volume.GetVolumeId(), size(l.volume.GetCapacityBytes())), nil
}

func (l *life) list(ctx context.Context) (string, error) {
	resp, err := l.controller.ListVolumes(ctx, &csi.ListVolumesRequest{})
	return fmt.Sprintf("%d volume", len(resp.GetEntries())), err
}

// attachNowhere publishes to a node that nobody is: the controller's half alone.
func (l *life) attachNowhere(ctx context.Context) (string, error) {
	id, err := driver.NewNodeID(defaultDriverName, "demo", "demo-node", "demo")
	if err != nil {
		return "", err
	}
	l.nodeID = id.String()
	return l.attach(ctx)
}

func (l *life) attach(ctx context.Context) (string, error) {
	l.begun(l.detach)
	resp, err := l.controller.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{
		VolumeId: l.volume.GetVolumeId(), NodeId: l.nodeID, VolumeCapability: l.capability(), VolumeContext: l.volume.GetVolumeContext(),
	})
	l.publish = resp.GetPublishContext()
	return l.publish["nqn"], err
}

func (l *life) stage(ctx context.Context) (string, error) {
	if err := os.MkdirAll(l.staging(), 0o750); err != nil {
		return "", err
	}
	l.begun(l.unstage)
	_, err := l.nodes.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
		VolumeId: l.volume.GetVolumeId(), StagingTargetPath: l.staging(), VolumeCapability: l.capability(),
		PublishContext: l.publish, VolumeContext: l.volume.GetVolumeContext(),
	})
	return l.path.fsType, err
}

func (l *life) mount(ctx context.Context) (string, error) {
	if err := os.MkdirAll(filepath.Dir(l.target()), 0o750); err != nil {
		return "", err
	}
	l.begun(l.unmount)
	_, err := l.nodes.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId: l.volume.GetVolumeId(), StagingTargetPath: l.staging(), TargetPath: l.target(), VolumeCapability: l.capability(),
		PublishContext: l.publish, VolumeContext: l.volume.GetVolumeContext(),
	})
	return l.target(), err
}

func (l *life) measure(ctx context.Context) (string, error) {
	resp, err := l.nodes.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: l.volume.GetVolumeId(), VolumePath: l.target()})
	if err != nil {
		return "", err
	}
	usage := resp.GetUsage()[0]
	return fmt.Sprintf("%s in all, %s used", size(usage.GetTotal()), size(usage.GetUsed())), nil
}

func (l *life) expand(ctx context.Context) (string, error) {
	resp, err := l.controller.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{
		VolumeId: l.volume.GetVolumeId(), CapacityRange: &csi.CapacityRange{RequiredBytes: demoGrown}, VolumeCapability: l.capability(),
	})
	return size(resp.GetCapacityBytes()), err
}

func (l *life) grow(ctx context.Context) (string, error) {
	resp, err := l.nodes.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{
		VolumeId: l.volume.GetVolumeId(), VolumePath: l.target(), StagingTargetPath: l.staging(), VolumeCapability: l.capability(),
		CapacityRange: &csi.CapacityRange{RequiredBytes: demoGrown},
	})
	return size(resp.GetCapacityBytes()) + " while mounted", err
}

func (l *life) unmount(ctx context.Context) (string, error) {
	_, err := l.nodes.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: l.volume.GetVolumeId(), TargetPath: l.target()})
	return "", l.undone(err)
}

func (l *life) unstage(ctx context.Context) (string, error) {
	_, err := l.nodes.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: l.volume.GetVolumeId(), StagingTargetPath: l.staging()})
	return "", l.undone(err)
}

func (l *life) detach(ctx context.Context) (string, error) {
	_, err := l.controller.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: l.volume.GetVolumeId(), NodeId: l.nodeID})
	return "", l.undone(err)
}

func (l *life) remove(ctx context.Context) (string, error) {
	_, err := l.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: l.volume.GetVolumeId()})
	return "", l.undone(err)
}
