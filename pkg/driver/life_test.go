package driver

import (
	"testing"

	"google.golang.org/grpc/codes"
)

func TestAVolumesWholeLife(t *testing.T) {
	r := newRig(t)
	for _, fs := range []string{"", "ext4", "xfs", "btrfs"} {
		t.Run("fs="+fs, func(t *testing.T) {
			v := r.attached(t, "life of "+fs, mounted(fs, singleWriter))
			wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
			if n := len(r.a.table()); n != 2 {
				t.Errorf("%d mounts, want staging and target", n)
			}
			wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK)
			wantCode(t, v.unstage(r.a), codes.OK)
			wantCode(t, v.unpublishFrom(r.a), codes.OK)
			wantCode(t, v.delete(), codes.OK)
			r.a.mustBeClean(t)
			if items := r.array.Items(); len(items) != 1 {
				t.Errorf("the array has %+v left", items)
			}
		})
	}
}
