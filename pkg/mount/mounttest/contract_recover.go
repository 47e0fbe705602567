package mounttest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func recoverContract() []contractTest {
	return []contractTest{
		{"all mounts of one device become mounts of another, ext4", func(t *testing.T, f *fixture) { recoverReplaces(t, f, "ext4") }},
		{"all mounts of one device become mounts of another, xfs", func(t *testing.T, f *fixture) { recoverReplaces(t, f, "xfs") }},
		{"all mounts of one device become mounts of another, btrfs", func(t *testing.T, f *fixture) { recoverReplaces(t, f, "btrfs") }},
		{"what is well stays", recoverNoop},
		{"nothing is touched before the device is there", recoverWithoutDevice},
		{"nothing is taken down before that is written down", recoverUnwritten},
		{"somebody else's mount stays", recoverForeign},
		{"what an earlier recovery took down comes back", recoverRestores},
		{"a node that is bound goes before its device is back", recoverBlock},
		{"a file system is taken down and mounted anew", recoverRenews},
		{"inspect", inspect},
	}
}

// recovery is of a volume that has come to be device d.
type recovery struct {
	mount.Recovery
	begun [][]string
}

func (f *fixture) recovery(d Disk, fsType string, publish ...mount.Publication) *recovery {
	r := &recovery{}
	r.Recovery = mount.Recovery{
		VolumeID: "rds/v", Staging: f.path("stage"), FSType: fsType, Publish: publish, Since: time.Now(), Ours: all,
		Attach: func(context.Context) (mount.Attached, error) {
			return mount.Attached{Path: d.Path, Num: d.Num, Live: alive}, nil
		},
		Begin: func(paths []string) error {
			r.begun = append(r.begun, slices.Clone(paths))
			return nil
		},
	}
	return r
}

// stagedAndPublished stages d, and publishes it at "rw" and "ro".
func (f *fixture) stagedAndPublished(t *testing.T, d Disk, fsType string) []mount.Publication {
	t.Helper()
	path := f.stage(t, d, fsType, "stage")
	f.published(t, f.bind(d, path, "rw"))
	readOnly := f.bind(d, path, "ro")
	readOnly.ReadOnly = true
	f.published(t, readOnly)
	return []mount.Publication{{Path: f.path("rw")}, {Path: f.path("ro"), ReadOnly: true}}
}

// numAt is the device mounted at name; it must be mounted once.
func (f *fixture) numAt(t *testing.T, name string) host.DevNum {
	t.Helper()
	if n := f.layersAt(t, f.path(name)); n != 1 {
		t.Fatalf("%d mounts at %s", n, name)
	}
	at, _, err := f.m.At(f.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return at.Device()
}

func recoverReplaces(t *testing.T, f *fixture, fsType string) {
	old, replaced := f.disk(t), f.disk(t)
	publish := f.stagedAndPublished(t, old, fsType)
	f.format(t, replaced, fsType)
	r := f.recovery(replaced, fsType, publish...)
	changed, err := f.m.Recover(t.Context(), r.Recovery)
	if err != nil || !changed {
		t.Fatalf("Recover = %v, %v", changed, err)
	}
	for _, name := range []string{"stage", "rw", "ro"} {
		if num := f.numAt(t, name); num != replaced.Num {
			t.Errorf("%s is of device %s, want %s", name, num, replaced.Num)
		}
	}
	if at, _, err := f.m.At(f.path("ro")); err != nil || !at.ReadOnly() {
		t.Errorf("ro: %+v, %v", at, err)
	}
	if len(r.begun) != 1 || len(r.begun[0]) != 2 {
		t.Errorf("written down: %q", r.begun)
	}
	if left, err := f.m.MountsOf(old.Num); err != nil || len(left) != 0 {
		t.Errorf("mounts of the old device: %+v, %v", left, err)
	}
}

func recoverNoop(t *testing.T, f *fixture) {
	d := f.disk(t)
	r := f.recovery(d, "ext4", f.stagedAndPublished(t, d, "ext4")...)
	if changed, err := f.m.Recover(t.Context(), r.Recovery); err != nil || changed || len(r.begun) != 0 {
		t.Errorf("Recover = %v, %v; written down: %q", changed, err, r.begun)
	}
}

func recoverWithoutDevice(t *testing.T, f *fixture) {
	d := f.disk(t)
	r := f.recovery(d, "ext4", f.stagedAndPublished(t, d, "ext4")...)
	r.Attach = func(context.Context) (mount.Attached, error) {
		return mount.Attached{}, fault.Errorf("connect", fault.NVMeDenied, "no")
	}
	_, err := f.m.Recover(t.Context(), r.Recovery)
	wantReason(t, err, fault.NVMeDenied)
	for _, name := range []string{"stage", "rw", "ro"} {
		f.numAt(t, name)
	}
}

func recoverUnwritten(t *testing.T, f *fixture) {
	old, replaced := f.disk(t), f.disk(t)
	publish := f.stagedAndPublished(t, old, "ext4")
	f.format(t, replaced, "ext4")
	r := f.recovery(replaced, "ext4", publish...)
	r.Begin = func([]string) error { return errors.New("the disk is full") }
	_, err := f.m.Recover(t.Context(), r.Recovery)
	wantKind(t, err, fault.Unavailable)
	for _, name := range []string{"stage", "rw", "ro"} {
		if num := f.numAt(t, name); num != old.Num {
			t.Errorf("%s is of device %s", name, num)
		}
	}
}

func recoverForeign(t *testing.T, f *fixture) {
	old, replaced := f.disk(t), f.disk(t)
	publish := f.stagedAndPublished(t, old, "ext4")
	f.format(t, replaced, "ext4")
	r := f.recovery(replaced, "ext4", publish...)
	r.Ours = func(at host.MountPoint) bool { return at.Path != f.path("rw") }
	_, err := f.m.Recover(t.Context(), r.Recovery)
	wantKind(t, err, fault.Precondition)
	if num := f.numAt(t, "rw"); num != old.Num {
		t.Errorf("rw is of device %s", num)
	}
}

func recoverRestores(t *testing.T, f *fixture) {
	d := f.disk(t)
	publish := f.stagedAndPublished(t, d, "ext4")
	for _, name := range []string{"rw", "ro", "stage"} {
		f.unmount(t, f.path(name))
	}
	publish[0].Restore = true
	r := f.recovery(d, "ext4", publish...)
	if changed, err := f.m.Recover(t.Context(), r.Recovery); err != nil || !changed {
		t.Fatalf("Recover = %v, %v", changed, err)
	}
	f.numAt(t, "stage")
	f.numAt(t, "rw")
	if n := f.layersAt(t, f.path("ro")); n != 0 {
		t.Error("what nobody asked to restore is there")
	}
}

func recoverBlock(t *testing.T, f *fixture) {
	old, replaced := f.disk(t), f.disk(t)
	f.published(t, f.bindNode(old, "vm"))
	r := f.recovery(replaced, "", mount.Publication{Path: f.path("vm")})
	r.Block, r.Staging = true, ""
	attach := r.Attach
	r.Attach = func(ctx context.Context) (mount.Attached, error) {
		if n := f.layersAt(t, f.path("vm")); n != 0 {
			t.Error("the old node is still bound when the new device is asked for")
		}
		return attach(ctx)
	}
	if changed, err := f.m.Recover(t.Context(), r.Recovery); err != nil || !changed {
		t.Fatalf("Recover = %v, %v", changed, err)
	}
	if num := f.numAt(t, "vm"); num != replaced.Num {
		t.Errorf("bound is device %s, want %s", num, replaced.Num)
	}
}

func recoverRenews(t *testing.T, f *fixture) {
	d := f.disk(t)
	f.stage(t, d, "ext4", "stage")
	r := f.recovery(d, "ext4")
	r.Renew = true
	if changed, err := f.m.Recover(t.Context(), r.Recovery); err != nil || !changed {
		t.Fatalf("Recover = %v, %v", changed, err)
	}
	f.numAt(t, "stage")
}

func inspect(t *testing.T, f *fixture) {
	for _, fsType := range mount.FSTypes() {
		d := f.disk(t)
		f.stage(t, d, fsType, fsType)
		f.mount(t, d, fsType, fsType+"-again", false)
		for name, tt := range map[string]struct {
			num    host.DevNum
			path   string
			state  telemetry.MountState
			reason telemetry.StaleReason
		}{
			"as it should be": {d.Num, fsType, telemetry.MountHealthy, ""},
			"another device":  {host.DevNum{Major: d.Num.Major, Minor: d.Num.Minor + 1}, fsType, telemetry.MountStale, telemetry.StaleDeviceChanged},
		} {
			at, _, err := f.m.At(f.path(tt.path))
			if err != nil {
				t.Fatal(err)
			}
			h := f.m.Inspect(t.Context(), mount.InspectRequest{At: at, Num: tt.num, Device: d.Path, FSType: fsType})
			if h.State != tt.state || h.Reason != tt.reason {
				t.Errorf("%s, %s: %+v", fsType, name, h)
			}
		}
		if !f.m.Held(fsType, d.Path) && fsType != "btrfs" {
			t.Errorf("%s is mounted and not held", fsType)
		}
	}
}
