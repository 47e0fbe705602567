package check_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

const differs = "answers differently from what the driver assumes: "

func mustSay(t *testing.T, out string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(out, part) {
			t.Errorf("it does not say %q:\n%s", part, out)
		}
	}
}

// Whatever the array answers otherwise is named, with what follows and what to set, and nothing is left.
func TestEveryDifferenceIsNamed(t *testing.T) {
	acl := "fix: --rds-host-acl off"
	tests := map[rdssim.Difference]struct {
		fails bool
		says  []string
	}{
		rdssim.NoRose:         {true, []string{"failed   rose-storage: the package is not there", "fix: install the package rose-storage", "failed   scratch volume: nothing is tried"}},
		rdssim.NoBytes:        {true, []string{"failed   create: " + differs + "it does not make a file disk with a size in bytes", "no volume can be made"}},
		rdssim.RoundsSizes:    {true, []string{"failed   size: " + differs + "asked for 67112960 bytes it makes a disk of 67108864", "fix: ask for whole GiB"}},
		rdssim.TextSizes:      {false, []string{"OK       size: asked for 67112960 bytes", "size as text"}},
		rdssim.UnitSizes:      {true, []string{"failed   sizes: " + differs, "64.0MiB", "every volume is refused"}},
		rdssim.NoACL:          {true, []string{"failed   one allowed host: " + differs + "it refuses an export with nvme-tcp-server-allow-host-name", acl, "OK       export without allowed hosts", "skipped  two allowed hosts"}},
		rdssim.IgnoresACL:     {true, []string{"failed   one allowed host: " + differs + "it takes one allowed host and shows none, which lets in anybody", acl}},
		rdssim.NoACLList:      {false, []string{"warning  two allowed hosts: " + differs + "it refuses a list of hosts", "no live migration", "fix: do not use ReadWriteMany"}},
		rdssim.OneNameACL:     {false, []string{"warning  two allowed hosts: " + differs + "it takes a list of two hosts and does not let in the second"}},
		rdssim.SharesSlots:    {false, []string{"warning  duplicate slot: " + differs + "it lets a second disk into a slot", "OK       growth"}},
		rdssim.NoExportedGrow: {false, []string{"warning  growth: " + differs + "it refuses to make an exported disk larger", "fix: stop the pods"}},
		rdssim.KeepsNQN:       {true, []string{"failed   next NQN: " + differs + "the NQN was set to ", "no volume can be attached a second time"}},
		rdssim.ShortComments:  {false, []string{"warning  comment: " + differs + "of a comment of 900 bytes it keeps 255 bytes"}},
		rdssim.BarePaths:      {true, []string{"failed   file: " + differs + "it shows the path of a disk's file otherwise", "OK       clean-up"}},
		rdssim.HidesRights:    {false, []string{"warning  rights: the array does not tell the rights of user csi"}},
	}
	for _, difference := range rdssim.Differences() {
		tt, tested := tests[difference]
		if !tested {
			t.Errorf("%s is not tested", difference)
			continue
		}
		t.Run(string(difference), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, difference)
			if difference != rdssim.NoRose && difference != rdssim.UnitSizes { // those let nothing be made
				r.crowded(t)
			}
			before := r.state(t)
			result, out := r.trying(true).run(t)
			mustSay(t, out, tt.says...)
			if result.OK() == tt.fails {
				t.Errorf("OK is %t:\n%s", result.OK(), out)
			}
			if after := r.state(t); after != before || r.host.left() != 0 {
				t.Errorf("left behind, sessions %d:\n%s\nbefore:\n%s", r.host.left(), after, before)
			}
		})
	}
}

// What only a live session shows.
func TestEveryDifferenceOfALiveSessionIsNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		host  func(h *fakeHost)
		fails bool
		says  []string
	}{
		"connect fails":   {func(h *fakeHost) { h.refused = fault.Errorf("c", fault.NVMeConnectRefused, "no route") }, true, []string{"failed   connect: ", "no route", "whether it ends a live session was not tried"}},
		"no ACL at work":  {func(h *fakeHost) { h.anybody = true }, true, []string{"failed   a host that is not allowed: " + differs}},
		"growth not seen": {func(h *fakeHost) { h.deaf = true }, false, []string{"warning  growth seen by the host: " + differs, "fix: restart the pods"}},
		"no fence":        {func(h *fakeHost) { h.undying = true }, true, []string{"failed   end of the export: " + differs + "a live session goes on", "data can be lost"}},
		"it ends before":  {func(h *fakeHost) { h.fragile = true }, false, []string{"warning  live session: it has ended before its time", "whether it ends a live session was not tried"}},
		"rises again":     {func(h *fakeHost) { h.risen = true }, true, []string{"data can be lost"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t).crowded(t)
			before := r.state(t)
			tt.host(r.host)
			r.trying(true).config.Trial.Patience = 300 * time.Millisecond
			result, out := r.run(t)
			mustSay(t, out, tt.says...)
			if result.OK() == tt.fails {
				t.Errorf("OK is %t:\n%s", result.OK(), out)
			}
			if after := r.state(t); after != before || r.host.left() != 0 {
				t.Errorf("left behind, sessions %d:\n%s", r.host.left(), after)
			}
		})
	}
}

func TestAllIsTriedAndNothingElseIsTouched(t *testing.T) {
	for name, live := range map[string]bool{"with NVMe/TCP": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).crowded(t)
			before := r.state(t)
			result, out := r.trying(live).run(t)
			if !result.OK() || strings.Contains(out, "  warning") {
				t.Errorf("on an array as the driver assumes it:\n%s", out)
			}
			if after := r.state(t); after != before {
				t.Errorf("changed:\n%s\nbefore:\n%s", after, before)
			}
			if live != (r.host.most >= 2) || r.host.left() != 0 {
				t.Errorf("%d sessions at once, %d left", r.host.most, r.host.left())
			}
		})
	}
}

// An administrator who has set --rds-host-acl off is not told so again.
func TestWithoutHostACL(t *testing.T) {
	r := newRig(t, rdssim.NoACL).crowded(t)
	before := r.state(t)
	r.config.HostACL = false
	result, out := r.trying(true).run(t)
	mustSay(t, out, "skipped  one allowed host: --rds-host-acl is off", "OK       export without allowed hosts", "skipped  two allowed hosts", "OK       end of the export: a live session ends")
	if after := r.state(t); !result.OK() || after != before {
		t.Errorf("%s\nleft: %s", out, after)
	}
}

// A name that is taken is left alone, though nobody but this program uses such names.
func TestATakenNameIsLeftAlone(t *testing.T) {
	const dir = `/file add name=storage-pool/rds-csi-check-0a1b2c3d type=directory`
	for name, tt := range map[string]struct {
		lines []string
		says  string
	}{
		"disk":      {[]string{`/disk add type=file slot=rds-csi-check-0a1b2c3d file-path=storage-pool/x.img file-size=1M`}, "1 disks and 0 files"},
		"directory": {[]string{dir}, "0 disks and 1 files"},
		"another slot": {[]string{dir, `/disk add type=file slot=x file-path=storage-pool/rds-csi-check-0a1b2c3d/disk.img file-size=1M`},
			"1 disks and 2 files"},
		"second file, another slot": {[]string{dir, `/disk add type=file slot=x file-path=storage-pool/rds-csi-check-0a1b2c3d/second.img file-size=1M`},
			"1 disks and 2 files"},
		"slot and file": {[]string{dir, `/disk add type=file slot=rds-csi-check-0a1b2c3d file-path=storage-pool/rds-csi-check-0a1b2c3d/disk.img file-size=1M`},
			"1 disks and 2 files"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for _, line := range tt.lines {
				if out := r.sim.Run(t.Context(), line); out != "" {
					t.Fatal(out)
				}
			}
			before := r.state(t)
			result, out := r.trying(false).run(t)
			if result.OK() {
				t.Error("nothing failed")
			}
			mustSay(t, out, tt.says, "of that name already")
			if after := r.state(t); after != before {
				t.Errorf("changed:\n%s", after)
			}
		})
	}
}

// An array may take the duplicate: there must be room for both disks.
func TestThereMustBeRoomForTheDuplicate(t *testing.T) {
	for name, tt := range map[string]struct {
		size uint64
		says string
	}{
		"one fits":  {140 << 20, "failed   scratch volume: pool storage-pool has 132120540 bytes for new volumes, 134225920 are needed"},
		"both do":   {150 << 20, "OK       clean-up"},
		"none does": {50 << 20, "failed   scratch volume: pool storage-pool has "},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigOf(t, rdssim.Options{Differences: []rdssim.Difference{rdssim.SharesSlots}, Pools: []rdssim.Pool{{Name: pool, FS: "btrfs", Size: tt.size}}})
			before := r.state(t)
			result, out := r.trying(true).run(t)
			mustSay(t, out, tt.says)
			if fails := strings.HasPrefix(tt.says, "failed"); result.OK() == fails || r.state(t) != before {
				t.Errorf("OK is %t:\n%s", result.OK(), out)
			}
		})
	}
}

// A --write that tries nothing has not succeeded.
func TestNothingTriedIsAFailure(t *testing.T) {
	r := newRig(t).trying(true)
	r.config.Pool = ""
	result, out := r.run(t)
	mustSay(t, out, "failed   scratch volume: nothing is tried, because of what is said above")
	if result.OK() {
		t.Error("nothing failed")
	}
}

// The clean-up may take long, and says so before.
func TestCleanUpIsAnnounced(t *testing.T) {
	_, out := newRig(t).trying(false).run(t)
	if announced, done := strings.Index(out, "cleaning up"), strings.Index(out, "OK       clean-up"); announced < 0 || announced > done {
		t.Errorf("announced at %d, done at %d:\n%s", announced, done, out)
	}
}

var errNoNet = errors.New("no network")
