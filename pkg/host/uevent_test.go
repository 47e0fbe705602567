package host_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

const added = "add@/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1\x00ACTION=add\x00DEVPATH=/x\x00SUBSYSTEM=block\x00MAJOR=259\x00MINOR=1\x00DEVNAME=nvme0n1\x00SEQNUM=1234\x00"

func TestParseUevent(t *testing.T) {
	e, ok := host.ParseUevent([]byte(added))
	if !ok || e.Action != "add" || e.DevPath != "/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1" {
		t.Errorf("got %+v, %v", e, ok)
	}
	want := map[string]string{"ACTION": "add", "DEVPATH": "/x", "SUBSYSTEM": "block", "MAJOR": "259", "MINOR": "1", "DEVNAME": "nvme0n1", "SEQNUM": "1234"}
	if !maps.Equal(e.Env, want) {
		t.Errorf("env %v", e.Env)
	}
	for _, other := range []string{"", "\x00", "libudev\x00\xfe\xed\xca\xfe", "@/x", "add@x", "add"} {
		if e, ok := host.ParseUevent([]byte(other)); ok {
			t.Errorf("%q was taken for %+v", other, e)
		}
	}
}

func FuzzParseUevent(f *testing.F) {
	f.Add([]byte(added))
	f.Add([]byte("change@/block/loop0\x00RESIZE=1\x00=\x00novalue\x00"))
	f.Add([]byte("libudev\x00\xfe\xed\xca\xfe"))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		e, ok := host.ParseUevent(datagram)
		if ok && (e.Action == "" || !strings.HasPrefix(e.DevPath, "/") || strings.ContainsRune(e.DevPath, 0)) {
			t.Errorf("%q gave %+v", datagram, e)
		}
	})
}

func TestWatchUeventsWakesForTheKernelsMessages(t *testing.T) {
	const trigger = "/sys/devices/virtual/mem/null/uevent"
	if f, err := os.OpenFile(trigger, os.O_WRONLY, 0); err != nil {
		t.Skipf("uevents cannot be triggered here: %v", err)
	} else {
		f.Close()
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	u, err := host.WatchUevents(func(e host.Uevent) bool { return e.Env["DEVNAME"] == "null" })
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(30 * time.Second)
	if err := (host.Attributes{}).Write(opened(t, filepath.Dir(trigger)), "uevent", "change"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-u.Wake():
	case <-deadline:
		t.Error("no wake-up came")
	}
	if err := (host.Attributes{}).Write(opened(t, "/sys/devices/virtual/mem/zero"), "uevent", "change"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-u.Wake():
		t.Error("woken for what does not match")
	case <-time.After(50 * time.Millisecond):
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
}
