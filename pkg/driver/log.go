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
	resp, err := next(ctx, req)
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
	if id := volumeIDIn(req); id != "" {
		fields = append(fields, zap.String("volume_id", id))
	}
	for _, described := range []map[string]string{volumeContextIn(req), parametersIn(req)} {
		if name := described[keyPVCName]; name != "" {
			fields = append(fields, zap.String("pvc", described[keyPVCNamespace]+"/"+name))
		}
	}
	if err != nil {
		fields = append(fields, zap.String("error", status.Convert(err).Message()))
	}
	if d.cfg.Log.Core().Enabled(zapcore.DebugLevel) {
		fields = append(fields, zap.Stringer("request", protosanitizer.StripSecrets(req)))
	}
	entry.Write(fields...)
	return resp, err
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
