package check_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

func TestLookingChangesNothing(t *testing.T) {
	r := newRig(t).crowded(t)
	before := r.state(t)
	result, out := r.run(t)
	if !result.OK() || strings.Contains(out, "  warning") {
		t.Errorf("on a good array and a good node:\n%s", out)
	}
	if after := r.state(t); after != before {
		t.Errorf("changed:\n%s\nbefore:\n%s", after, before)
	}
	for _, exec := range r.sim.Transcript() {
		for _, verb := range []string{"/disk add", "/disk set", "/disk remove", "/file add", "/file remove", "/user/add"} {
			if strings.Contains(exec.Command, verb) && !strings.Contains(exec.Command, ":parse") {
				t.Errorf("looking sends %s", exec.Command)
			}
		}
	}
}

// Each policy that is missing is named, with the command that gives it.
func TestAMissingPolicyIsNamed(t *testing.T) {
	fix := "/user/group/set csi policy=ssh,read,write,test"
	for name, tt := range map[string]struct {
		policy string
		says   []string
	}{
		"ssh":   {"read,write,test", []string{"failed   login: user csi cannot log in", "the policy ssh"}},
		"read":  {"ssh,write,test", []string{"failed   rights: the group of user csi lacks the policy read", "policy=ssh,read,write,test"}},
		"write": {"ssh,read,test", []string{"failed   rights: group csi lacks the policy write", fix}},
		"test":  {"ssh,read,write", []string{"failed   rights: group csi lacks the policy test", fix, "does not tell its version"}},
		"two":   {"ssh,read", []string{"lacks the policy write and test"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if out := r.sim.Run(t.Context(), "/user/group/set csi policy="+tt.policy); out != "" {
				t.Fatal(out)
			}
			result, out := r.trying(false).run(t)
			mustSay(t, out, tt.says...)
			if result.OK() || len(r.sim.Items()) != 2 {
				t.Errorf("OK, or the scratch volume is there: %v\n%s", r.sim.Items(), out)
			}
		})
	}
}

// An array that hides the rights is asked by trying.
func TestAMissingPolicyIsFoundWhereRightsAreHidden(t *testing.T) {
	for missing, tt := range map[string]struct{ policy, says string }{
		"read":  {"ssh,write,test", "lacks the policy read: the array refuses to show its disks"},
		"test":  {"ssh,read,write", "lacks the policy test: the array shows its disks but not its version"},
		"write": {"ssh,read,test", "failed   create: the user may not do this"},
	} {
		t.Run(missing, func(t *testing.T) {
			r := newRig(t, rdssim.HidesRights)
			if out := r.sim.Run(t.Context(), "/user/group/set csi policy="+tt.policy); out != "" {
				t.Fatal(out)
			}
			before := r.state(t)
			result, out := r.trying(false).run(t)
			mustSay(t, out, tt.says, "policy=ssh,read,write,test")
			if result.OK() {
				t.Error("nothing failed")
			}
			if missing != "write" && r.state(t) != before {
				t.Error("something was changed")
			}
		})
	}
}

func TestMoreRightsThanNeededAreAWarning(t *testing.T) {
	r := newRig(t)
	if out := r.sim.Run(t.Context(), "/user/group/set csi policy=ssh,read,write,test,policy,ftp"); out != "" {
		t.Fatal(out)
	}
	result, out := r.run(t)
	mustSay(t, out, "warning  rights: group csi has all it needs, and more: with policy, ftp")
	if !result.OK() {
		t.Error("that is no failure")
	}
}

func TestWhatIsWrongWithTheArrayIsNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		options rdssim.Options
		change  func(t *testing.T, r *rig)
		says    []string
	}{
		"too old":      {rdssim.Options{Version: "7.20.8"}, nil, []string{"failed   RouterOS: ", "7.21 or newer is needed", "skipped  package and pool"}},
		"no such pool": {rdssim.Options{}, func(t *testing.T, r *rig) { r.pool(t, "tank") }, []string{"failed   pool: ", "mounted there: storage-pool (btrfs), other (xfs)"}},
		"no pool":      {rdssim.Options{}, func(t *testing.T, r *rig) { r.config.Pool = "" }, []string{"warning  pool: no --rds-pool is given"}},
		"another kind of pool": {rdssim.Options{}, func(t *testing.T, r *rig) { r.pool(t, "other") },
			[]string{"warning  pool: other is xfs", "no snapshots"}},
		"a full pool": {rdssim.Options{Pools: []rdssim.Pool{{Name: pool, FS: "btrfs", Size: 10 << 20}}}, func(t *testing.T, r *rig) {
			if out := r.sim.Run(t.Context(), "/disk add type=file slot=a file-path=storage-pool/a.img file-size=10M"); out != "" {
				t.Fatal(out)
			}
		}, []string{"warning  pool: storage-pool is btrfs: 10485760 bytes, 0 free, none for new volumes"}},
		"away": {rdssim.Options{}, func(t *testing.T, r *rig) {
			if err := r.sim.Close(); err != nil {
				t.Fatal(err)
			}
		}, []string{"failed   reachable: the array's SSH service at 10.0.0.2:22 does not answer", "connection refused", "skipped  the rest of the array"}},
		"port not reached": {rdssim.Options{}, func(t *testing.T, r *rig) { r.config.Dial = func(context.Context, string) error { return errNoNet } },
			[]string{"failed   NVMe/TCP port: 10.0.0.2:4420 is not reached: no network", "fix: check the address"}},
		"port refused": {rdssim.Options{}, func(t *testing.T, r *rig) {
			r.config.Dial = func(_ context.Context, address string) error {
				if strings.HasSuffix(address, ":4420") {
					return &os.SyscallError{Err: syscall.ECONNREFUSED}
				}
				return nil
			}
		}, []string{"warning  NVMe/TCP port: 10.0.0.2:4420 is reached, but nothing listens"}},
		"no NVMe address": {rdssim.Options{}, func(t *testing.T, r *rig) { r.config.Addresses = nil }, []string{"failed   NVMe/TCP port: no address is known"}},
		"host key not verified": {rdssim.Options{}, func(t *testing.T, r *rig) { r.config.Insecure = true },
			[]string{"warning  host key: it is not verified"}},
		"another host key": {rdssim.Options{}, func(t *testing.T, r *rig) {
			r.login(t, "csi", r.sim.ClientKeyFile(), "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU")
		}, []string{"failed   host key: ", "SHA256:47DEQpj8HBSa", "fix: compare with /ip/ssh print"}},
		"another user": {rdssim.Options{}, func(t *testing.T, r *rig) { r.login(t, "nobody", r.sim.ClientKeyFile(), r.sim.HostKeyFingerprint()) },
			[]string{"failed   login: ", "fix: on the array: /user/ssh-keys print"}},
		"no key": {rdssim.Options{}, func(t *testing.T, r *rig) {
			r.login(t, "csi", filepath.Join(t.TempDir(), "none"), r.sim.HostKeyFingerprint())
		}, []string{"failed   login: ", "no such file"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRigOf(t, tt.options)
			if tt.change != nil {
				tt.change(t, r)
			}
			result, out := r.run(t)
			mustSay(t, out, tt.says...)
			if fails := strings.HasPrefix(tt.says[0], "failed"); result.OK() == fails {
				t.Errorf("OK is %t:\n%s", result.OK(), out)
			}
		})
	}
}

func (r *rig) pool(t *testing.T, name string) {
	t.Helper()
	r.config.Pool = name
	r.config.Array = rds.New(rds.Config{Console: r.console(t, "csi", r.sim.ClientKeyFile()), Pool: name, Port: 4420, HostACL: true})
}

func (r *rig) login(t *testing.T, user, key, hostKey string) {
	t.Helper()
	console, err := routeros.New(routeros.Config{Address: r.sim.SSHAddr(), User: user, KeyFile: key, HostKey: hostKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := console.Close(); err != nil {
			t.Error(err)
		}
	})
	r.config.Array = rds.New(rds.Config{Console: console, Pool: pool, Port: 4420, HostACL: true})
}

func TestWhatIsWrongWithTheNodeIsNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(m *fakeMachine)
		says   []string
	}{
		"no NVMe/TCP": {func(m *fakeMachine) { delete(m.files, "/dev/nvme-fabrics") }, []string{"failed   NVMe/TCP: /dev/nvme-fabrics is missing, and so is the module"}},
		"not loaded": {func(m *fakeMachine) {
			delete(m.files, "/dev/nvme-fabrics")
			m.files["/lib/modules/6.12.1/modules.dep"] = "kernel/drivers/nvme/host/nvme-tcp.ko.xz: kernel/drivers/nvme/host/nvme-fabrics.ko.xz\n"
		}, []string{"OK       NVMe/TCP: the module nvme-tcp is there for kernel 6.12.1 and not loaded"}},
		"no btrfs": {func(m *fakeMachine) { m.files["/proc/filesystems"] = "\text4\n\txfs\n" }, []string{"warning  file systems: the kernel has no btrfs"}},
		"btrfs as module": {func(m *fakeMachine) {
			m.files["/proc/filesystems"] = "\text4\n\txfs\n"
			m.files["/lib/modules/6.12.1/modules.builtin"] = "kernel/fs/btrfs/btrfs.ko\n"
		}, []string{"OK       file systems"}},
		"private mount": {func(m *fakeMachine) { m.mounts[1].Shared = false }, []string{"failed   kubelet's directory: /var/lib/kubelet lies on the mount /var/lib/kubelet, which is not shared", "mountPropagation: Bidirectional"}},
		"deeper mount": {func(m *fakeMachine) {
			m.mounts = append(m.mounts, host.MountPoint{Path: "/var/lib/kubelet-other"}, host.MountPoint{Path: "/var/lib/kubelet/pods"})
		}, []string{"OK       kubelet's directory"}},
		"covered":  {func(m *fakeMachine) { m.mounts = append(m.mounts, host.MountPoint{Path: "/var/lib/kubelet"}) }, []string{"failed   kubelet's directory"}},
		"programs": {func(m *fakeMachine) { m.missing = []string{"mkfs.xfs", "blkid"} }, []string{"failed   programs: missing here: blkid, mkfs.xfs"}},
		"no node": {func(m *fakeMachine) {
			delete(m.files, "/var/lib/kubelet")
			delete(m.files, "/dev/nvme-fabrics")
			m.missing = []string{"mkfs.xfs"}
		},
			[]string{"warning  NVMe/TCP: ", "warning  programs: ", "skipped  kubelet: there is no /var/lib/kubelet"}},
		"not root": {func(m *fakeMachine) { m.user = true; m.missing = []string{"blkid"} }, []string{"skipped  node: this is not root"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			m := goodNode()
			tt.change(m)
			r.config.Machine, r.config.Array, r.config.Missing = m, nil, "no --rds-address is given"
			result, out := r.run(t)
			mustSay(t, out, append(tt.says, "skipped  array: no --rds-address is given")...)
			if fails := strings.HasPrefix(tt.says[0], "failed"); result.OK() == fails {
				t.Errorf("OK is %t:\n%s", result.OK(), out)
			}
		})
	}
}
