package mount_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
)

// blkid says 2 to every one of these, just as to a blank disk.
func TestNoFormatOfWhatCannotBeRead(t *testing.T) {
	tests := []struct {
		name   string
		breaks func(n *node)
	}{
		{"head", func(n *node) { n.FailReads(device, 0) }},
		{"superblock of a volume with data", func(n *node) { n.FailReads(device, 1024) }},
		{"end of the head", func(n *node) { n.FailReads(device, 2<<20-1) }},
		{"backup superblock", func(n *node) { n.FailReads(device, 128<<20) }},
		{"btrfs mirror", func(n *node) { n.FailReads(device, 64<<20) }},
		{"a sample", func(n *node) { n.FailReads(device, size/256*77+size/512) }},
		{"last byte", func(n *node) { n.FailReads(device, size-1) }},
		{"disk gone", func(n *node) { n.KillDisk(device) }},
		{"blkid missing", func(n *node) { n.BreakTool("blkid", host.ErrNotInstalled) }},
		{"blkid crashed", func(n *node) { n.BreakTool("blkid", &host.ExitError{Name: "blkid", Code: 139}) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			tt.breaks(n)
			formatted, err := n.format(t.Context(), &record{})
			if formatted || err == nil || n.ranMkfs() {
				t.Fatalf("format = %v, %v; tools %v", formatted, err, n.Calls())
			}
			if got := n.decisions(); !slices.Equal(got, []string{"refused_unreadable"}) {
				t.Errorf("decisions = %v", got)
			}
			if kind := fault.KindOf(err); kind != fault.Unavailable && kind != fault.Precondition {
				t.Errorf("kind = %s of %v", kind, err)
			}
		})
	}
}

// A volume that is not declared blank and cannot be read must not be called one without a file system.
func TestUnreadableBeatsNotBlank(t *testing.T) {
	n := newNode(t)
	n.FailReads(device, 1024)
	_, err := n.m.EnsureFormatted(t.Context(), mount.FormatRequest{
		Device: device, Num: number(), Size: size, Journal: &record{}, Live: alive,
	})
	if fault.KindOf(err) != fault.Precondition || fault.ReasonOf(err) == fault.FSNotBlank || !errors.Is(err, unix.EIO) {
		t.Errorf("error = %v, want one about reading", err)
	}
}

func TestFormatDecisions(t *testing.T) {
	n := newNode(t)
	n.stage(t)
	_, busy := n.format(t.Context(), &record{})
	if _, err := n.m.Unmount(t.Context(), filepath.Join(n.dir, "stage"), all); err != nil {
		t.Fatal(err)
	}
	again, err := n.format(t.Context(), &record{})
	if fault.KindOf(busy) != fault.Busy || again || err != nil {
		t.Errorf("busy: %v; again: %v, %v", busy, again, err)
	}
	if got := n.decisions(); !slices.Equal(got, []string{"formatted", "refused_in_use", "already_formatted"}) {
		t.Errorf("decisions = %v", got)
	}
}

func TestNoFormatWithoutARecordOnDisk(t *testing.T) {
	n := newNode(t)
	full := errors.New("no space left on device")
	if formatted, err := n.format(t.Context(), &record{fail: full}); formatted || !errors.Is(err, full) || n.ranMkfs() {
		t.Errorf("format = %v, %v; tools %v", formatted, err, n.Calls())
	}
}

func TestInterruptedMkfsIsResumedByItsOwnerOnly(t *testing.T) {
	n, owner := newNode(t), &record{}
	n.InterruptMkfs()
	if formatted, err := n.format(t.Context(), owner); formatted || fault.KindOf(err) != fault.Canceled {
		t.Fatalf("interrupted format = %v, %v", formatted, err)
	}
	if !owner.formatting || owner.done != 0 {
		t.Fatalf("record = %+v; want formatting", owner)
	}
	if formatted, err := n.format(t.Context(), &record{}); formatted || fault.ReasonOf(err) != fault.FSNotBlank {
		t.Errorf("another node: %v, %v; want a refusal", formatted, err)
	}
	if formatted, err := n.format(t.Context(), owner); !formatted || err != nil || owner.formatting || owner.done != 1 {
		t.Errorf("owner: %v, %v, %+v", formatted, err, owner)
	}
}

func TestWipedVolumeIsBlankAgain(t *testing.T) {
	n := newNode(t)
	n.InterruptMkfs()
	if _, err := n.format(t.Context(), &record{}); err == nil {
		t.Fatal("mkfs was not interrupted")
	}
	const inSample = 21 << 20 // where mkfs.btrfs writes its system tree, and the proof has a sample
	disk, err := n.Devices().Open(device, false, true)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if _, err := disk.WriteAt([]byte("_BHRfS_M"), inSample); err != nil {
		t.Fatal(err)
	}
	if formatted, err := n.format(t.Context(), &record{}); formatted || fault.ReasonOf(err) != fault.FSNotBlank {
		t.Errorf("before it is wiped: %v, %v", formatted, err)
	}
	if err := n.m.WipeInterrupted(t.Context(), device, number(), alive); err != nil {
		t.Fatal(err)
	}
	if formatted, err := n.format(t.Context(), &record{}); !formatted || err != nil {
		t.Errorf("another node: %v, %v", formatted, err)
	}
}

func TestFailedMkfsSaysSo(t *testing.T) {
	n := newNode(t)
	n.BreakTool("mkfs.ext4", &host.ExitError{Name: "mkfs.ext4", Code: 1, Stderr: "out of memory"})
	if _, err := n.format(t.Context(), &record{}); fault.ReasonOf(err) != fault.MkfsFailed || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("error = %v", err)
	}
	n.BreakTool("mkfs.ext4", host.ErrNotInstalled)
	if _, err := n.format(t.Context(), &record{formatting: true}); fault.KindOf(err) != fault.Precondition {
		t.Errorf("missing mkfs: %v", err)
	}
}
