package mounttest

import (
	"bytes"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
)

func refuseContract() []contractTest {
	return []contractTest{
		{"one byte anywhere it looks", refuseOneByte},
		{"another file system", refuseOtherFilesystem},
		{"a partition table", refusePartitionTable},
		{"contradicting signatures", refuseAmbivalent},
		{"a volume that was not created blank", refuseNotBlank},
		{"a read-only request", refuseReadOnly},
		{"a read-only device", refuseReadOnlyDevice},
		{"a mounted device", refuseMounted},
		{"a device that is held open exclusively", refuseHeld},
		{"another device number", refuseOtherNumber},
		{"a device that is too small", refuseSmall},
		{"an unknown file system", refuseUnknown},
		{"what had a file system and reads as zeros", refuseLost},
		{"a mounted device for fsck", refuseCheckMounted},
	}
}

// unharmed runs EnsureFormatted, which must refuse and leave every byte alone.
func (f *fixture) unharmed(t *testing.T, d Disk, r mount.FormatRequest) error {
	t.Helper()
	before := f.read(t, d, 0, 4<<20)
	o, err := f.m.EnsureFormatted(t.Context(), r)
	if err == nil || o.Formatted {
		t.Fatalf("EnsureFormatted = %+v, %v; want a refusal", o, err)
	}
	if !bytes.Equal(before, f.read(t, d, 0, 4<<20)) {
		t.Fatal("it refused and yet wrote")
	}
	if calls := r.Journal.(*journal).calls; len(calls) != 0 {
		t.Errorf("journal = %v", calls)
	}
	return err
}

func refuseOneByte(t *testing.T, f *fixture) {
	const sample = diskSize/256*100 + diskSize/512
	offsets := []int64{0, 1000000, 2<<20 - 1, sample, 32 << 20, 64 << 20, 128<<20 + 100, 384 << 20, diskSize - 1<<20, diskSize - 1}
	for _, off := range offsets {
		d := f.disk(t)
		f.write(t, d, off, []byte("x"))
		wantReason(t, f.unharmed(t, d, f.request(d, "ext4")), fault.FSNotBlank)
		if got := f.read(t, d, off, 1); got[0] != 'x' {
			t.Errorf("the byte at %d is gone", off)
		}
	}
}

func refuseOtherFilesystem(t *testing.T, f *fixture) {
	for _, there := range mount.FSTypes() {
		d := f.disk(t)
		f.format(t, d, there)
		for _, wanted := range mount.FSTypes() {
			if wanted != there {
				wantReason(t, f.unharmed(t, d, f.request(d, wanted)), fault.FSNotBlank)
			}
		}
	}
}

func refusePartitionTable(t *testing.T, f *fixture) {
	d := f.disk(t)
	mbr := make([]byte, 512)
	copy(mbr[446:], []byte{0x80, 0, 2, 0, 0x83, 0, 4, 0, 0, 8, 0, 0, 0, 0, 1, 0}) // one Linux partition
	mbr[510], mbr[511] = 0x55, 0xaa
	f.write(t, d, 0, mbr)
	wantReason(t, f.unharmed(t, d, f.request(d, "ext4")), fault.FSNotBlank)
}

func refuseAmbivalent(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.format(t, d, "ext4")
	other := f.disk(t)
	f.format(t, other, "btrfs")
	f.write(t, d, 64<<10, f.read(t, other, 64<<10, 4096))
	wantReason(t, f.unharmed(t, d, f.request(d, "ext4")), fault.FSNotBlank)
}

func refuseNotBlank(t *testing.T, f *fixture) {
	d := f.disk(t)
	r := f.request(d, "ext4")
	r.Blank = false
	wantReason(t, f.unharmed(t, d, r), fault.FSNotBlank)
}

// The array came back with an empty file: zeros prove nothing where there was a file system.
func refuseLost(t *testing.T, f *fixture) {
	r := f.request(f.disk(t), "ext4")
	r.Journal = &journal{formatted: true}
	err := f.unharmed(t, Disk{Path: r.Device, Num: r.Num}, r)
	wantReason(t, err, fault.FSNotBlank)
	if !strings.Contains(err.Error(), "had a file system under this very attachment and now reads as zeros") {
		t.Errorf("error = %v", err)
	}
	r.Journal = &journal{formatted: true, formatting: true} // a record that contradicts itself
	wantReason(t, f.unharmed(t, Disk{Path: r.Device, Num: r.Num}, r), fault.FSNotBlank)
}

func refuseReadOnly(t *testing.T, f *fixture) {
	d := f.disk(t)
	r := f.request(d, "ext4")
	r.ReadOnly = true
	wantKind(t, f.unharmed(t, d, r), fault.Precondition)
}

func refuseReadOnlyDevice(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.setReadOnly(t, d)
	wantKind(t, f.unharmed(t, d, f.request(d, "ext4")), fault.Precondition)
}

func (f *fixture) setReadOnly(t *testing.T, d Disk) {
	t.Helper()
	if err := f.Config.Devices.SetReadOnly(d.Path, d.Num, true); err != nil {
		t.Fatal(err)
	}
}

func refuseMounted(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.stage(t, d, "ext4", "stage")
	_, err := f.m.EnsureFormatted(t.Context(), f.request(d, "ext4"))
	wantKind(t, err, fault.Busy)
}

func refuseHeld(t *testing.T, f *fixture) {
	d := f.disk(t)
	holder, err := f.Config.Devices.Open(d.Path, true, false)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	wantKind(t, f.unharmed(t, d, f.request(d, "ext4")), fault.Busy)
}

func refuseOtherNumber(t *testing.T, f *fixture) {
	d := f.disk(t)
	r := f.request(d, "ext4")
	r.Num.Minor += 77
	wantKind(t, f.unharmed(t, d, r), fault.Unavailable)
}

func refuseSmall(t *testing.T, f *fixture) {
	d := f.disk(t)
	r := f.request(d, "ext4")
	r.Size = diskSize + 1
	wantKind(t, f.unharmed(t, d, r), fault.Unavailable)
}

func refuseUnknown(t *testing.T, f *fixture) {
	d := f.disk(t)
	for _, fsType := range []string{"ext3", "vfat", "ext4 -F", "../ext4"} {
		wantKind(t, f.unharmed(t, d, f.request(d, fsType)), fault.Invalid)
	}
}

func refuseCheckMounted(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.format(t, d, "ext4")
	if err := f.m.Check(t.Context(), d.Path, d.Num, "ext4", alive); err != nil {
		t.Fatalf("check of a clean file system: %v", err)
	}
	f.mount(t, d, "ext4", "stage", false)
	wantKind(t, f.m.Check(t.Context(), d.Path, d.Num, "ext4", alive), fault.Busy)
}
