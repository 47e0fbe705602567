package mounttest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
)

func formatContract() []contractTest {
	return []contractTest{
		{"blank disk gets the file system once", formatOnce},
		{"no file system asked for is ext4", formatDefault},
		{"own file system is recognised without a tool", formatIsRecognised},
		{"what cannot be recognised is shown to blkid", formatAsksBlkid},
		{"file system that is in use is not taken for clean", formatIsNotClean},
		{"what mkfs made can be mounted by its name only", formatIsMountable},
		{"identity is asked before the probe, after it and right before mkfs", formatAsksThreeTimes},
		{"record is written before mkfs and closed after it", formatJournals},
		{"own interrupted mkfs starts again", formatAgainAfterInterruption},
		{"interrupted mkfs elsewhere is refused until it is wiped", formatAfterWipe},
		{"wipe is refused while the device is in use", wipeInUse},
	}
}

func formatOnce(t *testing.T, f *fixture) {
	for _, fsType := range mount.FSTypes() {
		d := f.disk(t)
		f.format(t, d, fsType)
		r := f.request(d, fsType)
		o, err := f.m.EnsureFormatted(t.Context(), r)
		if err != nil || o.Formatted {
			t.Errorf("%s, second time: %+v, %v; want it as it is", fsType, o, err)
		}
		if calls := r.Journal.(*journal).calls; len(calls) != 0 {
			t.Errorf("%s: a file system that was there was noted as %v", fsType, calls)
		}
	}
}

func formatIsRecognised(t *testing.T, f *fixture) {
	for _, fsType := range mount.FSTypes() {
		if fsType == "xfs" && f.LargeSectors {
			continue
		}
		d := f.disk(t)
		f.ran.take()
		o, err := f.m.EnsureFormatted(t.Context(), f.request(d, fsType))
		if want := (mount.FormatOutcome{Formatted: true, Clean: true, Full: true}); err != nil || o != want {
			t.Errorf("%s: %+v, %v; want %+v", fsType, o, err, want)
		}
		if names := f.ran.take(); !slices.Equal(names, []string{"blkid", "mkfs." + fsType}) {
			t.Errorf("%s: to make it ran %v", fsType, names)
		}
		f.mount(t, d, fsType, fsType, false)
		f.unmount(t, f.path(fsType))
		o, err = f.m.EnsureFormatted(t.Context(), f.request(d, fsType))
		if want := (mount.FormatOutcome{Clean: true, Full: true}); err != nil || o != want {
			t.Errorf("%s, after it was mounted: %+v, %v; want %+v", fsType, o, err, want)
		}
		if err := f.m.Check(t.Context(), d.Path, d.Num, fsType, alive); err != nil {
			t.Errorf("%s: check: %v", fsType, err)
		}
		if names := f.ran.take(); len(names) > 0 {
			t.Errorf("%s: to recognise it ran %v", fsType, names)
		}
	}
}

// A volume that is not of this driver's making may have anything on it, and one that grew is not filled.
func formatAsksBlkid(t *testing.T, f *fixture) {
	for _, fsType := range mount.FSTypes() {
		d := f.disk(t)
		f.format(t, d, fsType)
		r := f.request(d, fsType)
		r.Blank = false
		grown := f.request(d, fsType)
		for _, r := range []mount.FormatRequest{r, grown} {
			f.ran.take()
			if o, err := f.m.EnsureFormatted(t.Context(), r); err != nil || o != (mount.FormatOutcome{}) {
				t.Errorf("%s: %+v, %v; want to know nothing but that it is there", fsType, o, err)
			}
			if names := f.ran.take(); !slices.Equal(names, []string{"blkid"}) {
				t.Errorf("%s: ran %v", fsType, names)
			}
			f.GrowDisk(t, d, 2*diskSize)
		}
	}
}

// A node that loses its device leaves the journal to be replayed: a copy of a mounted one looks like that.
func formatIsNotClean(t *testing.T, f *fixture) {
	d, twin := f.disk(t), f.disk(t)
	f.stage(t, d, "ext4", "stage")
	f.write(t, twin, 0, f.read(t, d, 0, 1<<20))
	f.ran.take()
	o, err := f.m.EnsureFormatted(t.Context(), f.request(twin, "ext4"))
	if want := (mount.FormatOutcome{Full: true}); err != nil || o != want {
		t.Errorf("EnsureFormatted = %+v, %v; want %+v", o, err, want)
	}
	_ = f.m.Check(t.Context(), twin.Path, twin.Num, "ext4", alive) // half of it is missing
	if names := f.ran.take(); !slices.Equal(names, []string{"fsck.ext4"}) {
		t.Errorf("ran %v, want the check only", names)
	}
}

func formatDefault(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.format(t, d, "")
	if o, err := f.m.EnsureFormatted(t.Context(), f.request(d, mount.DefaultFSType)); err != nil || o.Formatted {
		t.Errorf("EnsureFormatted = %+v, %v; want the default to be %s", o, err, mount.DefaultFSType)
	}
}

func formatIsMountable(t *testing.T, f *fixture) {
	for _, fsType := range mount.FSTypes() {
		d := f.disk(t)
		path := f.stage(t, d, fsType, fsType)
		there, found, err := f.m.At(path)
		if err != nil || !found || there.Dev != d.Num || there.FSType != fsType || there.ReadOnly() {
			t.Errorf("%s: mounted %+v, %v, %v", fsType, there, found, err)
		}
		if points, err := f.m.MountsOf(d.Num); err != nil || len(points) != 1 || points[0].Path != path {
			t.Errorf("%s: MountsOf = %v, %v", fsType, points, err)
		}
	}
}

func formatAsksThreeTimes(t *testing.T, f *fixture) {
	for fails := 1; ; fails++ {
		d, asked, lost := f.disk(t), 0, errors.New("controller lost")
		r := f.request(d, "ext4")
		r.Live = func(context.Context) error {
			if asked++; asked == fails {
				return fault.E("look at the controller", fault.NVMeControllerLost, lost)
			}
			return nil
		}
		o, err := f.m.EnsureFormatted(t.Context(), r)
		if err == nil && o.Formatted {
			if fails <= 3 {
				t.Errorf("identity was asked %d times only", fails-1)
			}
			return
		}
		if !errors.Is(err, lost) || o.Formatted {
			t.Fatalf("answer %d failed: EnsureFormatted = %+v, %v", fails, o, err)
		}
		wantReason(t, err, fault.NVMeControllerLost)
		// The last question comes after mkfs: only then may there be something on the disk.
		if done := asked == 4; !done && !isZero(f.read(t, d, 0, 8192)) {
			t.Fatalf("answer %d failed, and yet the disk was formatted", fails)
		}
	}
}

func formatJournals(t *testing.T, f *fixture) {
	r := f.request(f.disk(t), "xfs")
	if _, err := f.m.EnsureFormatted(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if calls := r.Journal.(*journal).calls; !slices.Equal(calls, []string{"begin xfs", "done"}) {
		t.Errorf("journal = %v", calls)
	}
}

// debris is what an mkfs.ext4 leaves that was killed before it wrote the primary superblock, and a
// block in the middle that no wipe finds.
func (f *fixture) debris(t *testing.T, d Disk) {
	t.Helper()
	f.format(t, d, "ext4")
	f.write(t, d, 1024, make([]byte, 1024))
}

func formatAgainAfterInterruption(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.debris(t, d)
	f.allowDebris(d)
	r := f.request(d, "ext4")
	r.Journal = &journal{formatting: true}
	if o, err := f.m.EnsureFormatted(t.Context(), r); err != nil || !o.Formatted {
		t.Fatalf("EnsureFormatted = %+v, %v; want it formatted", o, err)
	}
	f.mount(t, d, "ext4", "stage", false)
}

func formatAfterWipe(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.debris(t, d)
	f.allowDebris(d)
	_, err := f.m.EnsureFormatted(t.Context(), f.request(d, "ext4"))
	wantReason(t, err, fault.FSNotBlank)
	if err := f.m.WipeInterrupted(t.Context(), d.Path, d.Num, alive); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 64 << 10, 64 << 20, 128 << 20, 384 << 20, diskSize - 1<<20} {
		if !isZero(f.read(t, d, off, 4096)) {
			t.Errorf("bytes at %d are not wiped", off)
		}
	}
}

// allowDebris tells the fake kernel that what is on the disk is no data. A real one believes anything.
func (f *fixture) allowDebris(d Disk) {
	if k, ok := f.Config.Kernel.(*Kernel); ok {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.disks[d.Path].debris = true
	}
}

func wipeInUse(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.stage(t, d, "ext4", "stage")
	before := f.read(t, d, 0, 4096)
	wantKind(t, f.m.WipeInterrupted(t.Context(), d.Path, d.Num, alive), fault.Busy)
	if !bytes.Equal(before, f.read(t, d, 0, 4096)) {
		t.Error("it was wiped all the same")
	}
	other := d.Num
	other.Minor += 77
	f.unmount(t, f.path("stage"))
	wantKind(t, f.m.WipeInterrupted(t.Context(), d.Path, other, alive), fault.Unavailable)
	if isZero(f.read(t, d, 1024, 1024)) {
		t.Error("another disk was wiped")
	}
}
