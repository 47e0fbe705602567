package check_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/check"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

func TestMain(m *testing.M) {
	// See pkg/routeros exchange.open: the tests kill connections on purpose, now and then in that moment.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("golang.org/x/crypto/ssh.(*mux).openChannel"))
}

const (
	pool  = "storage-pool"
	nonce = "0a1b2c3d"
	gib   = 1 << 30
)

// rig is a simulated array with volumes of others, and what check is run with.
type rig struct {
	sim    *rdssim.Array
	dir    string
	config check.Config
	host   *fakeHost
}

func newRig(t *testing.T, differences ...rdssim.Difference) *rig {
	t.Helper()
	return newRigOf(t, rdssim.Options{Differences: differences})
}

func newRigOf(t *testing.T, o rdssim.Options) *rig {
	t.Helper()
	r := &rig{dir: filepath.Join(t.TempDir(), "array")}
	o.Dir = r.dir
	if o.Pools == nil {
		o.Pools = []rdssim.Pool{{Name: pool, FS: "btrfs", Size: 100 * gib}, {Name: "other", FS: "xfs", Size: 10 * gib}}
	}
	sim, err := rdssim.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	r.sim, r.host = sim, &fakeHost{sim: sim, sessions: map[string]*fakeSession{}}
	r.config = check.Config{
		Array: rds.New(rds.Config{Console: r.console(t, "csi", sim.ClientKeyFile()), Pool: pool, Port: 4420, HostACL: true, Settle: time.Millisecond}),
		SSH:   "10.0.0.2:22", User: "csi", Pool: pool, HostACL: true, Addresses: []string{"10.0.0.2:4420"}, Version: "v0.0.0",
		Kubelet: "/var/lib/kubelet", Machine: goodNode(), Dial: func(context.Context, string) error { return nil },
	}
	return r
}

func (r *rig) console(t *testing.T, user, key string) *routeros.Client {
	t.Helper()
	console, err := routeros.New(routeros.Config{Address: r.sim.SSHAddr(), User: user, KeyFile: key, HostKey: r.sim.HostKeyFingerprint()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := console.Close(); err != nil {
			t.Error(err)
		}
	})
	return console
}

// crowded puts things beside the scratch volume that are like it: they must be as they were.
func (r *rig) crowded(t *testing.T) *rig {
	t.Helper()
	for _, line := range []string{
		`/disk/btrfs/subvolume add fs=storage-pool-fs name=csi-0123456789abcdef0123456789ab`,
		`/disk add type=file slot=csi-0123456789abcdef0123456789ab file-path=storage-pool/csi-0123456789abcdef0123456789ab/disk.img file-size=1M comment="rds-csi cluster=c1 pvc=a/b pv=c -- rds-csi free"`,
		`/disk add type=file slot=root-disk file-path=storage-pool/root.img file-size=2M nvme-tcp-export=yes nvme-tcp-server-nqn=nqn.2000-02.com.mikrotik:root`,
		`/file add name=storage-pool/backup type=directory`,
		`/file add name=storage-pool/backup/rds-csi-check-0a1b2c3d type=directory`,
		`/file add name=storage-pool/backup/rds-csi-check-0a1b2c3d/disk.img contents=precious`,
		`/file add name=other/rds-csi-check-0a1b2c3d type=directory`,
		`/file add name=other/rds-csi-check-0a1b2c3d/disk.img contents=precious`,
		`/disk add type=file slot=rds-csi-check-ffffffff file-path=storage-pool/another.img file-size=1M`,
	} {
		if out := r.sim.Run(t.Context(), line); out != "" {
			t.Fatalf("%s: %s", line, out)
		}
	}
	return r
}

// trying sets up --write, with a fake kernel where live.
func (r *rig) trying(live bool) *rig {
	r.config.Trial = &check.Trial{Nonce: nonce, NoHost: "this machine has no NVMe/TCP", Settle: time.Millisecond, Watch: 20 * time.Millisecond, Patience: 5 * time.Second}
	if live {
		r.config.Trial.NoHost, r.config.Trial.Sessions = "", r.host
		r.config.Trial.Portals = []nvme.Portal{{Address: "10.0.0.2", Port: 4420}}
	}
	return r
}

func (r *rig) run(t *testing.T) (*check.Result, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out strings.Builder
	result := check.Run(ctx, r.config, &out)
	return result, out.String()
}

// state is everything that the array keeps: its state file, every file in its pools, and what is exported.
// The number of the next item is left out: it counts on, whatever is removed.
func (r *rig) state(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	text, err := os.ReadFile(filepath.Join(r.dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	var kept map[string]any
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	if _, there := kept["next_id"]; !there || kept["disks"] == nil {
		t.Fatalf("the state file was not understood: %s", text)
	}
	delete(kept, "next_id")
	if kept["subvolumes"] == nil {
		kept["subvolumes"] = []any{}
	}
	if text, err = json.MarshalIndent(kept, "", " "); err != nil {
		t.Fatal(err)
	}
	b.Write(text)
	for _, sub := range []string{"pools", "exports"} {
		b.WriteString("\n" + tree(t, filepath.Join(r.dir, sub)))
	}
	return b.String()
}

func tree(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			fmt.Fprintln(&b, path)
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %d %x\n", path, len(data), sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// fakeMachine is a node as it should be, unless a test changes it.
type fakeMachine struct {
	user    bool // not root
	files   map[string]string
	missing []string // programs
	mounts  []host.MountPoint
}

func goodNode() *fakeMachine {
	return &fakeMachine{
		files: map[string]string{
			"/proc/sys/kernel/osrelease": "6.12.1\n", "/dev/nvme-fabrics": "", "/var/lib/kubelet": "",
			"/proc/filesystems": "nodev\tsysfs\n\text4\n\txfs\n\tbtrfs\n",
		},
		mounts: []host.MountPoint{{Path: "/", Shared: true}, {Path: "/var/lib/kubelet", Shared: true}},
	}
}

func (m *fakeMachine) Root() bool { return !m.user }

func (m *fakeMachine) Exists(path string) bool { _, there := m.files[path]; return there }

func (m *fakeMachine) Read(path string) (string, error) {
	text, there := m.files[path]
	if !there {
		return "", fs.ErrNotExist
	}
	return text, nil
}

func (m *fakeMachine) Installed(program string) error {
	if slices.Contains(m.missing, program) {
		return host.ErrNotInstalled
	}
	return nil
}

func (m *fakeMachine) Mounts() ([]host.MountPoint, error) {
	if m.mounts == nil {
		return nil, errors.New("no table")
	}
	return m.mounts, nil
}
