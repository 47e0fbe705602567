package nvme_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// paperLoop is a Loop with an attachment in a sysfs of plain files.
func paperLoop(t *testing.T) (l *nvme.Loop, block, link string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sys := filepath.Join(dir, "sys")
	link = filepath.Join(dir, "attached", nvmetest.HostID, "nqn.test:v")
	put(t, link, "data")
	block = filepath.Join(sys, "block")
	put(t, filepath.Join(block, "loop0/loop/backing_file"), link+"\n")
	put(t, filepath.Join(block, "loop1/size"), "0\n") // without a file
	l, err = nvme.NewLoop(nvme.LoopConfig{Dir: dir, HostNQN: nvmetest.HostNQN, Sys: sys, Dev: filepath.Join(dir, "dev")})
	if err != nil {
		t.Fatal(err)
	}
	return l, block, link
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoopIsNotDetachedWhileSysfsCannotBeRead(t *testing.T) {
	for name, spoil := range map[string]func(block string) error{
		"no block devices": os.RemoveAll,
		"an unreadable attribute": func(block string) error {
			attribute := filepath.Join(block, "loop0/loop/backing_file")
			if err := os.Remove(attribute); err != nil {
				return err
			}
			return os.Mkdir(attribute, 0o755)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, block, link := paperLoop(t)
			if err := spoil(block); err != nil {
				t.Fatal(err)
			}
			err := l.Disconnect(t.Context(), "nqn.test:v", nvmetest.HostNQN, telemetry.DisconnectUnstage)
			wantKind(t, err, fault.Unavailable)
			if _, err := os.Stat(link); err != nil {
				t.Errorf("the link of what may be attached was removed: %v", err)
			}
			_, err = l.Find(t.Context(), "nqn.test:v", nvmetest.HostNQN)
			wantReason(t, err, fault.ReasonUnavailable)
			if _, err := l.Attached(nvmetest.HostNQN); err == nil {
				t.Error("attached lists what it cannot read")
			}
			if _, err := l.States(); err == nil {
				t.Error("states counts what it cannot read")
			}
		})
	}
}

// Without its link the device is as attached, and perhaps mounted, as before.
func TestLoopSeesADeviceWhoseLinkWasDeleted(t *testing.T) {
	l, block, link := paperLoop(t)
	put(t, filepath.Join(block, "loop0/loop/backing_file"), link+" (deleted)\n")
	if nqns, err := l.Attached(nvmetest.HostNQN); err != nil || !slices.Equal(nqns, []string{"nqn.test:v"}) {
		t.Errorf("attached gives %q, %v", nqns, err)
	}
	err := l.Disconnect(t.Context(), "nqn.test:v", nvmetest.HostNQN, telemetry.DisconnectUnstage)
	wantKind(t, err, fault.Busy) // this sysfs does not tell who uses it
}
