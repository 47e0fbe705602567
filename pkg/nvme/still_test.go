package nvme_test

import (
	"os"
	"path/filepath"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
)

func TestADeviceThatIsHeldIsStillTheVolumes(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(r rig, d *nvme.Device)
		want   fault.Kind
	}{
		"nothing has happened":           {func(rig, *nvme.Device) {}, ""},
		"its target is away":             {func(r rig, d *nvme.Device) { r.SetState(d.Controller, "connecting") }, fault.Unavailable},
		"the kernel has given it up":     {func(r rig, d *nvme.Device) { r.Drop(d.Controller) }, fault.NotFound},
		"its namespace is gone":          {func(r rig, d *nvme.Device) { r.DropNamespace(d.Controller) }, fault.Unavailable},
		"it is smaller":                  {func(_ rig, d *nvme.Device) { d.Size *= 2 }, fault.Unavailable},
		"sysfs shows another number":     {func(_ rig, d *nvme.Device) { d.Num = host.DevNum{Major: 259, Minor: 77} }, fault.Unavailable},
		"its controller's name is wrong": {func(_ rig, d *nvme.Device) { d.Controller = "nvme9" }, ""}, // it is found all the same
	} {
		for _, multipath := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, nvmetest.Options{Multipath: multipath}, impatient)
				d := r.connect(t)
				defer r.Hold(d.Path)()
				tt.change(r, &d)
				err := r.host.Still(t.Context(), volume, nvmetest.HostNQN, d)
				if got := fault.KindOf(err); got != tt.want {
					t.Errorf("multipath %t: error %v of kind %q, want %q", multipath, err, got, tt.want)
				}
			})
		}
	}
}

// Linux 6.16 keeps a head for a while after its last path, though its controller is live.
func TestAHeadWithoutAPathIsNoDevice(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true, DelayedRemoval: true}, impatient)
	r.target.Fenced = true
	d := r.connect(t)
	defer r.Hold(d.Path)()
	r.DropPaths(d.Controller)
	if err := r.host.Still(t.Context(), volume, nvmetest.HostNQN, d); fault.ReasonOf(err) != fault.NVMeControllerLost {
		t.Errorf("error = %v", err)
	}
}

// Number and size are as they were, but what they are of is no longer what the controller shows.
func TestAHeadOfSomethingElseIsNoDevice(t *testing.T) {
	for name, change := range map[string]func(r rig, head, subsystem string) error{
		"another namespace": func(_ rig, head, _ string) error {
			return os.WriteFile(filepath.Join(head, "wwid"), []byte("eui.0123456789abcdef\n"), 0o600)
		},
		"another namespace's number": func(_ rig, head, _ string) error {
			return os.WriteFile(filepath.Join(head, "nsid"), []byte("2\n"), 0o600)
		},
		"hidden": func(_ rig, head, _ string) error {
			return os.WriteFile(filepath.Join(head, "hidden"), []byte("1\n"), 0o600)
		},
		"another subsystem": func(_ rig, _, subsystem string) error {
			return os.WriteFile(filepath.Join(subsystem, "subsysnqn"), []byte(volume+"9\n"), 0o600)
		},
		"a subsystem without the controller": func(r rig, _, subsystem string) error {
			return os.Remove(filepath.Join(subsystem, r.Controllers()[0]))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nvmetest.Options{Multipath: true}, impatient)
			d := r.connect(t)
			defer r.Hold(d.Path)()
			head, err := filepath.EvalSymlinks(filepath.Join(r.Config().Sys, "block", filepath.Base(d.Path)))
			if err == nil {
				err = change(r, head, filepath.Dir(head))
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := r.host.Still(t.Context(), volume, nvmetest.HostNQN, d); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("error = %v", err)
			}
		})
	}
}

// Which of two was meant cannot be told, also if the second came after the first was found.
func TestASecondDeviceOfTheVolumeIsSeen(t *testing.T) {
	t.Run("another namespace", func(t *testing.T) {
		for _, multipath := range []bool{true, false} {
			r := newRig(t, nvmetest.Options{Multipath: multipath}, impatient)
			d := r.connect(t)
			defer r.Hold(d.Path)()
			controller := filepath.Join(r.Config().Sys, "class/nvme", d.Controller)
			second := "nvme0n2"
			if multipath {
				second = "nvme0c0n2"
			}
			if err := os.Mkdir(filepath.Join(controller, second), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := r.host.Still(t.Context(), volume, nvmetest.HostNQN, d); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("multipath %t: error = %v", multipath, err)
			}
		}
	})
	t.Run("another controller, without multipath", func(t *testing.T) {
		r := newRig(t, nvmetest.Options{}, impatient)
		d := r.connect(t)
		defer r.Hold(d.Path)()
		r.target.Portals[0] = r.AddPortal()
		r.createBehind(t, volume)
		eventually(t, "the second has its disk", func() bool {
			_, err := r.host.Find(t.Context(), volume, nvmetest.HostNQN)
			return fault.KindOf(err) == fault.Precondition
		})
		if err := r.host.Still(t.Context(), volume, nvmetest.HostNQN, d); fault.KindOf(err) != fault.Precondition {
			t.Errorf("error = %v", err)
		}
	})
}

func TestADeviceOfAnotherTransportIsNotOurs(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true}, impatient)
	d := r.connect(t)
	defer r.Hold(d.Path)()
	if err := os.WriteFile(filepath.Join(r.Config().Sys, "class/nvme", d.Controller, "transport"), []byte("rdma\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.host.Still(t.Context(), volume, nvmetest.HostNQN, d); fault.KindOf(err) != fault.NotFound {
		t.Errorf("error = %v", err)
	}
}

// The kernel gives the name of a controller that went away to the next.
func TestAControllerOfAnotherVolumeIsNotOurs(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true}, impatient)
	d := r.connect(t)
	r.Drop(d.Controller)
	other := r.target
	other.NQN = volume + "9"
	r.Export(nvmetest.Subsystem{NQN: other.NQN, Hosts: []string{nvmetest.HostNQN}, Size: 8 * mib})
	next, err := r.host.Connect(t.Context(), other)
	if err != nil || next.Controller != d.Controller {
		t.Fatalf("%+v, %v: the name was not given again, and this shows nothing", next, err)
	}
	d.Num = next.Num
	if err := r.host.Still(t.Context(), volume, nvmetest.HostNQN, d); fault.KindOf(err) != fault.NotFound {
		t.Errorf("error = %v", err)
	}
}
