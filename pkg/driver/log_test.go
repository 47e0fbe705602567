package driver

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func TestASlowCallSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		d := &Driver{cfg: DriverConfig{Log: zap.New(core)}}
		const method = "/csi.v1.Node/NodeStageVolume"
		req := &csi.NodeStageVolumeRequest{VolumeId: "rds/csi-1", Secrets: map[string]string{"key": "canary"}}
		_, err := d.logCall(t.Context(), req, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
			ctx, connect := telemetry.Start(ctx, "nvme.connect", telemetry.Client)
			time.Sleep(20 * time.Second)
			_, predial := telemetry.Start(ctx, "nvme.predial", telemetry.Client)
			time.Sleep(45 * time.Second)
			predial.End(nil)
			connect.End(nil)
			return &csi.NodeStageVolumeResponse{}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		lines := logs.FilterMessage(method + " is still running").All()
		if len(lines) != 2 {
			t.Fatalf("%d lines in 65 s, want 2: %v", len(lines), logs.All())
		}
		for i, want := range []struct{ all, step time.Duration }{{30 * time.Second, 10 * time.Second}, {60 * time.Second, 40 * time.Second}} {
			fields := lines[i].ContextMap()
			if fields["waits_for"] != "nvme.connect > nvme.predial" || fields["duration"] != want.all || fields["step_duration"] != want.step ||
				fields["volume_id"] != "rds/csi-1" {
				t.Errorf("line %d: %v", i, fields)
			}
		}
		synctest.Wait()
		time.Sleep(time.Hour)
		if n := logs.FilterMessageSnippet("still running").Len(); n != 2 {
			t.Errorf("%d lines after the call", n)
		}
	})
}
