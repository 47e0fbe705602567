package nvme_test

import (
	"os"
	"path/filepath"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
)

// Two portals; the array reboots with new namespace UUIDs and one portal stays away. The path that is
// back has dropped its namespace, the one that is away still holds the old head: no path is usable.
func TestNoUsablePathIsNotHealthy(t *testing.T) {
	r := newRig(t, nvmetest.Options{Multipath: true})
	r.target.Portals = append(r.target.Portals, r.AddPortal())
	d := r.connect(t)
	eventually(t, "both paths are there", func() bool { return r.status(t).Live == 2 })
	for _, name := range r.Controllers() {
		if name != d.Controller {
			r.SetState(name, "connecting")
		}
	}
	paths, err := filepath.Glob(filepath.Join(r.Config().Sys, "class/nvme", d.Controller, "nvme*c*n*"))
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	if err := os.RemoveAll(paths[0]); err != nil { // nvme_validate_ns: identifiers changed for nsid 1
		t.Fatal(err)
	}
	_, err = r.host.Find(t.Context(), volume, nvmetest.HostNQN)
	wantReason(t, err, fault.NVMeControllerLost) // Find knows
	if s := r.status(t); s.Link == nvme.LinkLive && !s.Num.IsZero() {
		t.Errorf("status %+v: it is taken for well, although no path to the device is live", s)
	}
}

// multipath=N, two portals, the first away: a repeated NodeStage connects the second as another disk.
func TestWithoutMultipathTheSecondPortalIsNoSecondDisk(t *testing.T) {
	r := newRig(t, nvmetest.Options{}, impatient)
	r.target.Portals = append(r.target.Portals, r.AddPortal())
	d := r.connect(t)
	r.SetState(d.Controller, "connecting")
	again, err := r.host.Connect(t.Context(), r.target)
	t.Logf("was %s %s, now %s %s, %v", d.Path, d.Num, again.Path, again.Num, err)
	if err == nil && again.Num != d.Num {
		t.Error("the same volume is two disks now, the first with writes that wait")
	}
	r.SetState(d.Controller, "live")
	if _, err := r.host.Find(t.Context(), volume, nvmetest.HostNQN); err != nil {
		t.Errorf("Find, which NodeUnstage begins with: %v", err)
	}
	if s, err := r.host.Status(t.Context(), volume, nvmetest.HostNQN); err != nil {
		t.Errorf("Status, which all healing begins with: %+v, %v", s, err)
	}
}
