package driver

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// operationOf maps the RPCs that change a volume to the contract's operations.
func operationOf(fullMethod string) (telemetry.Operation, bool) {
	op, ok := map[string]telemetry.Operation{
		csi.Controller_CreateVolume_FullMethodName:              telemetry.OpCreate,
		csi.Controller_DeleteVolume_FullMethodName:              telemetry.OpDelete,
		csi.Controller_ControllerPublishVolume_FullMethodName:   telemetry.OpAttach,
		csi.Controller_ControllerUnpublishVolume_FullMethodName: telemetry.OpDetach,
		csi.Controller_ControllerExpandVolume_FullMethodName:    telemetry.OpExpand,
		csi.Node_NodeStageVolume_FullMethodName:                 telemetry.OpStage,
		csi.Node_NodeUnstageVolume_FullMethodName:               telemetry.OpUnstage,
		csi.Node_NodePublishVolume_FullMethodName:               telemetry.OpPublish,
		csi.Node_NodeUnpublishVolume_FullMethodName:             telemetry.OpUnpublish,
		csi.Node_NodeExpandVolume_FullMethodName:                telemetry.OpNodeExpand,
	}[fullMethod]
	return op, ok
}

type noopKey struct{}

// noop is what a handler calls when it found everything as asked and did nothing.
func noop(ctx context.Context) {
	if flag, ok := ctx.Value(noopKey{}).(*atomic.Bool); ok {
		flag.Store(true)
	}
}

// meter measures the operation, ties the span to it, and lets one operation at a time at a volume.
func (d *Driver) meter(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	d.annotate(ctx, req)
	op, ok := operationOf(info.FullMethod)
	if !ok {
		resp, err := next(ctx, req)
		telemetry.Fail(ctx, err)
		return resp, err
	}
	start := time.Now()
	defer d.cfg.Metrics.StartVolumeOp(ctx, op)()
	flag := &atomic.Bool{}
	resp, err := d.exclusively(context.WithValue(ctx, noopKey{}, flag), op, req, next)
	status := telemetry.StatusOf(err)
	if err == nil && flag.Load() {
		status = telemetry.StatusNoop
	}
	d.cfg.Metrics.RecordVolumeOp(ctx, op, status, err, time.Since(start))
	telemetry.Annotate(ctx, telemetry.OperationAttr(op), telemetry.StatusAttr(status))
	telemetry.Fail(ctx, err)
	return resp, err
}

func (d *Driver) exclusively(ctx context.Context, op telemetry.Operation, req any, next grpc.UnaryHandler) (any, error) {
	locks, key := d.lockOf(op, req)
	if key == "" {
		return next(ctx, req) // the handler says which field is missing
	}
	end, err := locks.begin(key, string(op))
	if err != nil {
		if r, ok := req.(*csi.NodeStageVolumeRequest); ok && d.node != nil && locks.heldBy(key) == recoveryHolder {
			d.node.preempt(ctx, key, r)
		}
		return nil, err
	}
	defer end()
	return next(ctx, req)
}

// lockOf names the volume in its one form, so that a create and a delete of it meet.
func (d *Driver) lockOf(op telemetry.Operation, req any) (*inFlight, string) {
	locks := d.controllerOps
	switch op {
	case telemetry.OpStage, telemetry.OpUnstage, telemetry.OpPublish, telemetry.OpUnpublish, telemetry.OpNodeExpand:
		locks = d.nodeOps
	}
	if r, ok := req.(*csi.CreateVolumeRequest); ok {
		if d.cfg.Controller == nil || r.GetName() == "" {
			return locks, ""
		}
		return locks, volumeID{Array: d.cfg.ArrayName, Slot: rds.Slot(d.cfg.Controller.ClusterID, r.GetName())}.String()
	}
	id, err := d.parseVolumeID(volumeIDIn(req))
	if err != nil {
		return locks, ""
	}
	return locks, id.String()
}

func volumeIDIn(req any) string {
	if r, ok := req.(interface{ GetVolumeId() string }); ok {
		return r.GetVolumeId()
	}
	return ""
}

// annotate says on the span which volume and claim a call is about.
func (d *Driver) annotate(ctx context.Context, req any) {
	attrs := []telemetry.Attr{telemetry.PluginName(d.cfg.Name)}
	if id := volumeIDIn(req); id != "" {
		attrs = append(attrs, telemetry.VolumeID(id))
	}
	for _, described := range []map[string]string{volumeContextIn(req), parametersIn(req)} {
		if name := described[keyPVCName]; name != "" {
			attrs = append(attrs, telemetry.PVCName(name), telemetry.PVCNamespace(described[keyPVCNamespace]))
		}
	}
	if r, ok := req.(interface{ GetVolumeCapability() *csi.VolumeCapability }); ok {
		attrs = append(attrs, describeCapability(r.GetVolumeCapability())...)
	}
	telemetry.Annotate(ctx, attrs...)
}

func volumeContextIn(req any) map[string]string {
	if r, ok := req.(interface{ GetVolumeContext() map[string]string }); ok {
		return r.GetVolumeContext()
	}
	return nil
}

func parametersIn(req any) map[string]string {
	if r, ok := req.(*csi.CreateVolumeRequest); ok {
		return r.GetParameters()
	}
	return nil
}

func describeCapability(c *csi.VolumeCapability) []telemetry.Attr {
	switch {
	case c.GetBlock() != nil:
		return []telemetry.Attr{telemetry.VolumeMode("block")}
	case c.GetMount() != nil:
		return []telemetry.Attr{telemetry.VolumeMode("filesystem"), telemetry.FilesystemType(fsTypeOf(c))}
	default:
		return nil
	}
}

// translate turns errors into gRPC statuses: the last thing that is done to them.
func translate(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	return resp, statusOf(err)
}

// answerMargin is the most of a call's time that is kept for its answer.
const answerMargin = 2 * time.Second

// answerInTime ends a handler's time a little before the caller's: an error that says what hangs, at the very
// moment at which the caller gives up, would never be read.
func answerInTime(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return next(ctx, req)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-min(time.Until(deadline)/10, answerMargin)))
	defer cancel()
	return next(ctx, req)
}

// guard turns a panic into INTERNAL: one bad call must not take the others down.
func (d *Driver) guard(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			d.logPanic(ctx, info.FullMethod, p)
			err = fault.Errorf(info.FullMethod, fault.Internal, "the driver panicked; its log has the stack; please report it")
		}
	}()
	return next(ctx, req)
}
