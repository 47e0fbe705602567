package telemetry

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgressNamesTheStepsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, p := WithProgress(context.Background())
		want := func(path string, last time.Duration) {
			t.Helper()
			if got, d := p.Steps(); got != path || d != last {
				t.Errorf("%q for %s, want %q for %s", got, d, path, last)
			}
		}
		want("", 0)
		outer, first := Start(ctx, "nvme.connect", Client)
		time.Sleep(time.Second)
		_, second := Start(outer, "nvme.predial", Client)
		time.Sleep(2 * time.Second)
		want("nvme.connect > nvme.predial", 2*time.Second)
		_, beside := Start(outer, "fs.probe", Internal)
		second.End(nil)
		want("nvme.connect > fs.probe", 0)
		beside.End(nil)
		want("nvme.connect", 3*time.Second)
		first.End(nil)
		want("", 0)
		_, elsewhere := Start(context.Background(), "mount", Internal) // nobody asks
		elsewhere.End(nil)
	})
}
