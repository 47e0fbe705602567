package guest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// exporting is a simulated array with disks made by hand, and a host that connects to them.
type exporting struct {
	*array
	host *nvme.Host
}

func newExporting(t *testing.T) exporting {
	t.Helper()
	t.Cleanup(func() {
		if clearTarget(t) && !t.Failed() {
			t.Error("the array has left exports in the kernel's target")
		}
	})
	e := exporting{array: startArray(t, filepath.Join(t.TempDir(), "array")), host: newHost(t)}
	return e
}

func diskNQN(slot string) string { return "nqn.2000-02.com.mikrotik:" + slot }

// disk makes and exports one, to the hosts of the list (comma separated; empty is any).
func (e exporting) disk(slot, hosts string) {
	e.t.Helper()
	e.must(`/disk/btrfs/subvolume add fs=pool-fs name=` + slot)
	e.must(fmt.Sprintf(`/disk add type=file slot=%s file-path=pool/%s/disk.img file-size=64M mount-filesystem=no nvme-tcp-export=yes nvme-tcp-server-nqn=%s nvme-tcp-server-allow-host-name=%q`,
		slot, slot, diskNQN(slot), hosts))
}

// must runs a console command, which is silent or prints the number of what it made.
func (e exporting) must(text string) {
	e.t.Helper()
	if out := strings.TrimSpace(e.console(text)); out != "" && !strings.HasPrefix(out, "*") {
		e.t.Fatalf("%s: %s", text, out)
	}
}

func (e exporting) try(slot string) (nvme.Device, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return e.host.Connect(ctx, volumeTarget(diskNQN(slot), e.portal()))
}

func (e exporting) connect(slot string) nvme.Device {
	e.t.Helper()
	d, err := e.try(slot)
	ok(e.t, err)
	e.t.Cleanup(func() { e.disconnect(slot) })
	return d
}

func (e exporting) disconnect(slot string) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := e.host.Disconnect(ctx, diskNQN(slot), nvmetest.HostNQN, telemetry.DisconnectUnstage); err != nil {
		e.t.Error(err)
	}
}

func (e exporting) refused(slot string) {
	e.t.Helper()
	if _, err := e.try(slot); fault.ReasonOf(err) != fault.NVMeDenied {
		e.t.Errorf("connect to %s: %v, want a refusal", slot, err)
	}
}

func (e exporting) stored(slot string) rdssim.Item {
	e.t.Helper()
	for _, item := range e.state().Items {
		if item.Slot == slot {
			return item
		}
	}
	e.t.Fatalf("the array has no %s", slot)
	return rdssim.Item{}
}

func blockAttribute(t *testing.T, d nvme.Device, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/sys/class/block", filepath.Base(d.Path), name))
	ok(t, err)
	return strings.TrimSpace(string(data))
}

// One subsystem for each disk, all at one port, namespace 1, and only for whom it is meant.
func TestExporterOffersWhatTheConsoleSays(t *testing.T) {
	e := newExporting(t)
	e.disk("one", nvmetest.HostNQN)
	e.disk("two", nvmetest.HostNQN+",nqn.test:other")
	e.disk("any", "")
	e.disk("theirs", "nqn.test:other")
	for _, slot := range []string{"one", "two", "any"} {
		d := e.connect(slot)
		if d.Size != 64*mib || d.Wwid != "uuid."+e.stored(slot).UUID || blockAttribute(t, d, "nsid") != "1" {
			t.Errorf("%s is %+v, namespace %s; the array says %+v", slot, d, blockAttribute(t, d, "nsid"), e.stored(slot))
		}
		writeData(t, d.Path, slot[0], mib)
	}
	e.refused("theirs")
	for _, slot := range []string{"one", "two", "any"} {
		checkData(t, filepath.Join(e.dir, "pools/pool", slot, "disk.img"), slot[0], mib)
	}
}

func TestExporterChangesHostsWithoutCuttingSessions(t *testing.T) {
	e := newExporting(t)
	e.disk("one", nvmetest.HostNQN)
	d := e.connect("one")
	e.must(`/disk set one nvme-tcp-server-allow-host-name=nqn.test:other`)
	writeData(t, d.Path, 1, mib)
	checkData(t, d.Path, 1, mib)
	e.disconnect("one")
	e.refused("one")
	e.must(`/disk set one nvme-tcp-server-allow-host-name=` + nvmetest.HostNQN)
	checkData(t, e.connect("one").Path, 1, mib)
}

func TestExporterGrowsWithoutCuttingSessions(t *testing.T) {
	e := newExporting(t)
	e.disk("one", nvmetest.HostNQN)
	d := e.connect("one")
	writeData(t, d.Path, 1, mib)
	e.must(`/disk set one file-size=128M`)
	program.Await(t, "the host is told", func() bool {
		now, err := e.host.Find(program.Soon(t), diskNQN("one"), nvmetest.HostNQN)
		return err == nil && now.Size == 128*mib && now.Num == d.Num
	})
	checkData(t, d.Path, 1, mib)
}

func TestExporterWithdrawalCutsSessions(t *testing.T) {
	e := newExporting(t)
	e.disk("one", nvmetest.HostNQN)
	e.connect("one")
	e.must(`/disk set one nvme-tcp-export=no`)
	program.Await(t, "the session is cut", func() bool {
		return !strings.Contains(strings.Join(controllers(t), "\n"), "live")
	})
	e.disconnect("one")
	e.refused("one")
	e.must(`/disk set one nvme-tcp-export=yes`)
	e.connect("one")
}

// While it boots, TCP is there and the subsystems are not: what a node meets then is a refusal. They come
// back with other UUIDs.
func TestExporterReboots(t *testing.T) {
	e := newExporting(t)
	slots := []string{"one", "two", "three"}
	before := map[string]rdssim.Item{}
	for i, slot := range slots {
		e.disk(slot, nvmetest.HostNQN)
		writeData(t, e.connect(slot).Path, byte(i), mib)
		before[slot] = e.stored(slot)
		e.disconnect(slot)
	}
	e.reboot(2 * time.Second)
	for _, slot := range slots {
		e.refused(slot)
	}
	program.Await(t, "the array is back", func() bool { return !e.state().Down })
	for i, slot := range slots {
		d := e.connect(slot)
		if uuid := e.stored(slot).UUID; d.Wwid != "uuid."+uuid || uuid == before[slot].UUID {
			t.Errorf("%s is %s, the array says %s, and said %s", slot, d.Wwid, uuid, before[slot].UUID)
		}
		checkData(t, d.Path, byte(i), mib)
	}
}

func TestExporterTakesOverWhatAKilledArrayLeft(t *testing.T) {
	e := newExporting(t)
	e.disk("one", nvmetest.HostNQN)
	e.disk("two", nvmetest.HostNQN)
	writeData(t, e.connect("one").Path, 1, mib)
	e.disconnect("one")
	e.Kill(t)
	checkData(t, e.connect("one").Path, 1, mib) // the kernel goes on without it
	e.disconnect("one")
	e.start()
	checkData(t, e.connect("one").Path, 1, mib)
	e.connect("two")
}
