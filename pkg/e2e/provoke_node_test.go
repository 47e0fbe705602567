package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

func recordBroken(t *testing.T, r *running) {
	dir := t.TempDir()
	n := startLoopNode(t, nil, filepath.Join(dir, "array"), dir)
	r.scrape(n.service)
	r.later = func() {
		if err := os.WriteFile(filepath.Join(dir, "plugin/stage/broken.json"), []byte("{"), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// startLoopBoth runs both halves against an array of their own.
func startLoopBoth(t *testing.T) (n *loopNode, array *rdssim.Array, arrayDir string) {
	t.Helper()
	dir, _ := leavesNothing(t)
	arrayDir = filepath.Join(dir, "array")
	array = startArray(t, rdssim.Options{Dir: arrayDir})
	return startLoopNode(t, nil, arrayDir, dir, append([]string{"--controller"}, array.DriverFlags()...)...), array, arrayDir
}

func formatRefused(t *testing.T, r *running) {
	n, array, arrayDir := startLoopBoth(t)
	r.scrape(n.service)
	v := n.published(t, "a", n.id)
	r.later = func() {
		for _, item := range array.Items() {
			if item.Slot == filepath.Base(v.GetVolumeId()) {
				f, err := os.OpenFile(filepath.Join(arrayDir, "pools", item.File), os.O_WRONLY, 0)
				if err == nil {
					_, err = f.WriteAt([]byte("somebody's data"), 4096)
					err = errors.Join(err, f.Close())
				}
				if err != nil {
					t.Error(err)
				}
			}
		}
		if err := n.stage(t.Context(), v); err == nil {
			t.Error("a volume with data on it was staged")
		}
	}
}

func deviceLost(t *testing.T, r *running) {
	n, _, arrayDir := startLoopBoth(t)
	r.scrape(n.service)
	v := n.published(t, "a", n.id)
	v.capability.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	if err := n.stage(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	r.later = func() {
		_, err := csi.NewControllerClient(n.conn).ControllerUnpublishVolume(t.Context(), &csi.ControllerUnpublishVolumeRequest{
			VolumeId: v.GetVolumeId(), NodeId: n.id,
		})
		if err != nil {
			t.Error(err)
		}
		tidy(t, arrayDir) // takes the loop device away
	}
}

// volumesComeAndGo shows on the dashboards what a node does that is well.
func volumesComeAndGo(t *testing.T, r *running) {
	n, _, _ := startLoopBoth(t)
	r.scrape(n.service)
	v := n.published(t, "a", n.id)
	r.later = func() {
		ended := make(chan struct{})
		t.Cleanup(func() { <-ended }) // t's context has ended by then
		go func() {
			defer close(ended)
			for t.Context().Err() == nil {
				err := errors.Join(n.stage(t.Context(), v), n.unstage(t.Context(), v))
				switch status.Code(err) {
				case codes.OK:
				case codes.Unavailable, codes.Canceled: // the driver was ended, or the test
					return
				default:
					t.Error(err)
					return
				}
				time.Sleep(time.Second) // or the operations would seem to be stuck
			}
		}()
	}
}
