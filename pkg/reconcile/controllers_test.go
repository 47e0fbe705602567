package reconcile

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestControllersAreCountedByTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		defer l.stop()
		l.kernel.set(3, nil)
		after(2 * nodeInterval)
		l.want(t, "rds_csi.nvme.controllers", "state", "live", 3)
		l.want(t, "rds_csi.nvme.connections.active", "", "", 3)

		l.kernel.set(0, errors.New("sysfs is not there"))
		after(3 * nodeInterval)
		l.absent(t, "rds_csi.nvme.controllers", "rds_csi.nvme.connections.active")
		if n := l.logs.FilterMessageSnippet("cannot be counted").Len(); n != 1 {
			t.Errorf("logged %d times", n)
		}
		l.want(t, "rds_csi.telemetry.errors", "", "", 3)

		l.kernel.set(2, nil)
		after(nodeInterval)
		l.want(t, "rds_csi.nvme.controllers", "state", "live", 2)
	})
}

// What a loop that hangs has seen last says nothing of now.
func TestALookThatIsTooOldIsAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t)
		l.kernel.set(3, nil)
		l.volumes.set("v", healthy)
		after(nodeInterval)
		checked, _ := l.value(t, "rds_csi.mount.check.time", "", "")
		hung := make(chan struct{})
		l.volumes.mu.Lock()
		l.volumes.hung = hung
		l.volumes.mu.Unlock()
		after(staleAfter - nodeInterval)
		l.want(t, "rds_csi.mounts", "state", "healthy", 1)
		l.want(t, "rds_csi.nvme.controllers", "state", "live", 3)
		after(2*nodeInterval + time.Second)
		l.absent(t, "rds_csi.mounts", "rds_csi.nvme.controllers", "rds_csi.nvme.connections.active")
		if now, found := l.value(t, "rds_csi.mount.check.time", "", ""); !found || now < checked || now > checked+nodeInterval.Seconds() {
			t.Errorf("the time of the last look is %v, %v; it was %v", now, found, checked)
		}
		l.volumes.mu.Lock()
		l.volumes.hung = nil
		l.volumes.mu.Unlock()
		close(hung)
		after(slowestInterval + nodeInterval)
		l.want(t, "rds_csi.mounts", "state", "healthy", 1)
		l.want(t, "rds_csi.nvme.controllers", "state", "live", 3)
		l.stop()
	})
}
