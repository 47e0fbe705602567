package reconcile_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/reconcile"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// answer is what an API server says of PersistentVolumes.
type answer func() (map[string]bool, error)

func (a answer) Handles(context.Context) (map[string]bool, error) { return a() }

const ours = "csi-0123456789abcdef0123456789ab"

// withVolumes is an array with a volume of the cluster, one of another cluster and one of nobody.
func withVolumes(t *testing.T) *rdssim.Array {
	t.Helper()
	sim := start(t, rdssim.Options{Dir: filepath.Join(t.TempDir(), "array"), Pools: []rdssim.Pool{{Name: "pool", FS: "xfs", Size: 1 << 30}}})
	for slot, comment := range map[string]string{ours: "rds-csi cluster=c1 pvc=a/b pv=c -- rds-csi free", "theirs": "rds-csi cluster=c2 pvc=a/b pv=c -- rds-csi free", "mine": ""} {
		out := sim.Run(t.Context(), `/disk add type=file slot="`+slot+`" file-path="/pool/`+slot+`.img" file-size=1M comment="`+comment+`"`)
		if strings.TrimSpace(out) != "" {
			t.Fatal(out)
		}
	}
	return sim
}

func TestBackendTellsOrphansWhereTheyAreKnown(t *testing.T) {
	for name, tt := range map[string]struct {
		answer answer
		known  bool
	}{
		"its volume has one":                     {func() (map[string]bool, error) { return map[string]bool{"rds/" + ours: true}, nil }, true},
		"its volume may have lost it, or be new": {func() (map[string]bool, error) { return nil, nil }, false},
		"nobody tells":                           {func() (map[string]bool, error) { return nil, errors.New("away") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{}, 100)
			backend, _ := watchPool(t, withVolumes(t), "pool", func(b *reconcile.Backend, tracer *telemetry.Tracer) {
				orphans := reconcile.NewOrphans(reconcile.OrphansConfig{
					Handles: answer(func() (map[string]bool, error) { asked <- struct{}{}; return tt.answer() }),
					Array:   "rds", Grace: time.Hour, Tracer: tracer, Log: zap.NewNop(),
				})
				b.Compare(orphans)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { defer close(ended); orphans.Run(ctx) }()
				t.Cleanup(func() { cancel(); <-ended })
			})
			<-asked
			if tt.known {
				await(t, "orphans", func() bool { return backend.Check().Orphans != nil })
			}
			await(t, "figures", func() bool { return backend.Check().Full != nil })
			check := backend.Check()
			if check.Full.Volumes != 1 || (check.Orphans != nil) != tt.known || tt.known && *check.Orphans != 0 {
				t.Errorf("%d volumes, orphans %v", check.Full.Volumes, check.Orphans)
			}
		})
	}
}
