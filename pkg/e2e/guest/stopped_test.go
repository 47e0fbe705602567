package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// A file system that meets an error stops, although its device is there. It lives on as long as any pod
// has it mounted; then it is checked and mounted anew.
func TestAFileSystemThatStoppedIsMountedAnew(t *testing.T) {
	for fs, stop := range map[string]func(t *testing.T, path string){"ext4": failExt4, "xfs": shutDownXFS} {
		t.Run(fs, func(t *testing.T) {
			ctx, c := t.Context(), newCluster(t)
			n := c.newNode("node-1")
			v := c.create(ctx, spec{name: "pvc-1", fs: fs})
			ok(t, c.attach(ctx, v, n, "pod"))
			writeData(t, dataPath(n, v, "pod"), 1, mib)
			program.Await(t, "all is well", func() bool { return n.is(healthySeries, 1) })
			stop(t, n.path(v, "pod"))
			program.Await(t, "it is seen", func() bool { return n.is(healthySeries, 0) && !n.is(unknownSeries, 1) })
			err := n.publish(ctx, v, "another-pod")
			if status.Code(err) != codes.Unavailable && status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "delete the pods") {
				t.Errorf("another pod: %v", err)
			}
			ok(t, n.unpublish(ctx, v, "pod"))
			program.Await(t, "it is mounted anew", func() bool { return n.is(healthySeries, 1) })
			ok(t, n.publish(ctx, v, "new-pod"))
			checkData(t, dataPath(n, v, "new-pod"), 1, mib)
			writeData(t, dataPath(n, v, "new-pod"), 2, mib)
			ok(t, c.detach(ctx, v, n, "new-pod"))
			ok(t, c.delete(ctx, v))
		})
	}
}

// failExt4 makes an ext4 meet an error (fs/ext4/sysfs.c, trigger_fs_error).
func failExt4(t *testing.T, _ string) {
	t.Helper()
	triggers, err := filepath.Glob("/sys/fs/ext4/nvme*/trigger_fs_error")
	ok(t, err)
	if len(triggers) != 1 {
		t.Fatalf("ext4 on NVMe: %q", triggers)
	}
	write(t, triggers[0], "as wanted by a test")
}

// xfsGoingDown is XFS_IOC_GOINGDOWN, with a flag to write nothing more, not even the log (fs/xfs/libxfs/xfs_fs.h).
const xfsGoingDown, withoutLog = 0x8004587d, uint32(2)

func shutDownXFS(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	ok(t, err)
	defer f.Close()
	flag := withoutLog
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), xfsGoingDown, uintptr(unsafe.Pointer(&flag))); errno != 0 {
		t.Fatalf("shut the xfs down: %v", errno)
	}
}
