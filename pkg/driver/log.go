package driver

import (
	"context"
	"time"

	"github.com/kubernetes-csi/csi-lib-utils/protosanitizer"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// logCall writes one line for each call. It sees the final status.
func (d *Driver) logCall(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	start := time.Now()
	resp, err := d.watched(ctx, req, info.FullMethod, next)
	code := status.Code(err)
	_, changes := operationOf(info.FullMethod)
	entry := d.cfg.Log.Check(levelOf(code, changes), info.FullMethod)
	if entry == nil {
		return resp, err
	}
	fields := append(telemetry.LogFields(ctx),
		zap.String("code", code.String()),
		zap.Duration("duration", time.Since(start)),
	)
	fields = append(fields, subjectOf(req)...)
	if err != nil {
		fields = append(fields, zap.String("error", status.Convert(err).Message()))
	}
	if d.cfg.Log.Core().Enabled(zapcore.DebugLevel) {
		fields = append(fields, zap.Stringer("request", protosanitizer.StripSecrets(req)))
	}
	entry.Write(fields...)
	return resp, err
}

// subjectOf are the fields that say what a request is about.
func subjectOf(req any) (fields []zap.Field) {
	if id := volumeIDIn(req); id != "" {
		fields = append(fields, zap.String("volume_id", id))
	}
	for _, described := range []map[string]string{volumeContextIn(req), parametersIn(req)} {
		if name := described[keyPVCName]; name != "" {
			fields = append(fields, zap.String("pvc", described[keyPVCNamespace]+"/"+name))
		}
	}
	return fields
}

// watched makes the call, and logs what it waits for while it takes long.
func (d *Driver) watched(ctx context.Context, req any, method string, next grpc.UnaryHandler) (any, error) {
	ctx, progress := telemetry.WithProgress(ctx)
	defer d.sayWhileSlow(ctx, method, req, progress)()
	return next(ctx, req)
}

// slowCall is after how long a call is said to be still under way, again and again.
const slowCall = 30 * time.Second

// sayWhileSlow logs what a call waits for, until stop.
func (d *Driver) sayWhileSlow(ctx context.Context, method string, req any, progress *telemetry.Progress) (stop func()) {
	start, done := time.Now(), make(chan struct{})
	go func() {
		ticker := time.NewTicker(slowCall)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			steps, last := progress.Steps()
			d.cfg.Log.Warn(method+" is still running", append(append(telemetry.LogFields(ctx), subjectOf(req)...),
				zap.Duration("duration", time.Since(start)), zap.String("waits_for", steps), zap.Duration("step_duration", last))...)
		}
	}()
	return func() { close(done) }
}

// levelOf: what kubelet and sidecars ask every minute is of no interest while it works.
func levelOf(code codes.Code, changes bool) zapcore.Level {
	switch {
	case code == codes.Internal, code == codes.DataLoss, code == codes.Unknown:
		return zapcore.ErrorLevel
	case code != codes.OK:
		return zapcore.WarnLevel
	case changes:
		return zapcore.InfoLevel
	default:
		return zapcore.DebugLevel
	}
}

func (d *Driver) logPanic(ctx context.Context, method string, p any) {
	d.cfg.Log.Error("panic in "+method, append(telemetry.LogFields(ctx), zap.Any("panic", p), zap.Stack("stack"))...)
}
