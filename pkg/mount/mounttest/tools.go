package mounttest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// Tools are the programs of a Kernel. They end as the real ones do (e2fsprogs 1.47, xfsprogs 6.1,
// btrfs-progs 6.2, util-linux 2.38).
type Tools struct{ k *Kernel }

// Run runs a program.
func (s *Tools) Run(ctx context.Context, name string, args ...string) (host.Result, error) {
	if err := ctx.Err(); err != nil {
		return host.Result{}, fmt.Errorf("%s was stopped: %w", name, err)
	}
	k := s.k
	if err := k.started(ctx, name, args); err != nil {
		return host.Result{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	last, options := args[len(args)-1], args[:len(args)-1]
	switch name {
	case "blkid":
		return k.blkid(options, last)
	case "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs":
		return host.Result{}, k.mkfs(strings.TrimPrefix(name, "mkfs."), options, last)
	case "fsck.ext4":
		return host.Result{}, k.fsckExt4(options, last)
	case "resize2fs":
		return host.Result{}, k.resize2fs(last)
	case "xfs_growfs":
		return host.Result{}, k.growMounted(name, "xfs", last)
	case "btrfs":
		if !slices.Equal(options, []string{"filesystem", "resize", "max"}) {
			return host.Result{}, exit(name, 1, "unknown command")
		}
		return host.Result{}, k.growMounted(name, "btrfs", last)
	default:
		return host.Result{}, fmt.Errorf("%s: %w", name, host.ErrNotInstalled)
	}
}

// started notes the call and waits as long as the tool hangs. One that is killed meanwhile leaves
// what the real one leaves: of all of them only resize2fs on an unmounted disk leaves damage.
func (k *Kernel) started(ctx context.Context, name string, args []string) error {
	k.mu.Lock()
	k.calls = append(k.calls, name+" "+strings.Join(args, " "))
	broken := k.broken[name]
	k.mu.Unlock()
	switch {
	case broken != nil:
		return fmt.Errorf("%s: %w", name, broken)
	case len(args) == 0:
		return exit(name, 1, "usage")
	}
	path := args[len(args)-1]
	select {
	case <-k.gate(name, path):
		return nil
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if d, err := k.diskAt(path); err == nil && name == "resize2fs" && !k.isMounted(d) {
		if err := d.setState(Corrupt); err != nil {
			k.t.Error(err)
		}
	}
	return fmt.Errorf("%s was stopped: %w", name, ctx.Err())
}

func exit(name string, code int, format string, args ...any) error {
	return &host.ExitError{Name: name, Code: code, Stderr: fmt.Sprintf(format, args...)}
}

// blkid ends with 2 for blank, missing and unreadable devices alike.
func (k *Kernel) blkid(options []string, path string) (host.Result, error) {
	if !slices.Contains(options, "-p") {
		k.t.Errorf("mounttest: blkid %v %s without -p answers from a cache", options, path)
	}
	d, err := k.diskAt(path)
	if err != nil {
		return host.Result{}, exit("blkid", 2, "error: %s: %v", path, err)
	}
	fs, err := d.filesystem()
	switch {
	case err != nil, fs.kind == "":
		return host.Result{}, exit("blkid", 2, "")
	case fs.kind == "ambivalent":
		return host.Result{}, exit("blkid", 8, "%s: ambivalent result (probably more filesystems on the device, use wipefs(8) to see more details)", path)
	case fs.kind == "dos":
		return host.Result{Stdout: "DEVNAME=" + path + "\nPTUUID=8a7b6c5d\nPTTYPE=dos\n"}, nil
	default:
		return host.Result{Stdout: fmt.Sprintf("DEVNAME=%s\nUUID=%x\nBLOCK_SIZE=%d\nTYPE=%s\nUSAGE=filesystem\n", path, fs.uuid, blockSize, fs.kind)}, nil
	}
}

// smallest is what mkfs insists on.
var smallest = map[string]uint64{"ext4": 1 << 20, "xfs": 300 << 20, "btrfs": 109 << 20}

func (k *Kernel) mkfs(kind string, options []string, path string) error {
	name := "mkfs." + kind
	d, err := k.diskAt(path)
	if err != nil {
		return exit(name, 1, "%s: %v", path, err)
	}
	if d.exclusive > 0 || k.isMounted(d) {
		return exit(name, 1, "%s is apparently in use by the system; will not make a filesystem here!", path)
	}
	fs, err := d.filesystem()
	if err != nil {
		return exit(name, 1, "%s: %v", path, err)
	}
	forced := kind == "ext4" && slices.Contains(options, "-F") || slices.Contains(options, "-f")
	if fs.kind != "" && !forced {
		return exit(name, 1, "%s appears to contain an existing filesystem (%s).", path, fs.kind)
	}
	if d.size() < smallest[kind] {
		return exit(name, 1, "%s is too small for %s", path, kind)
	}
	if err := k.onlyOnBlank(d, name, path); err != nil {
		return err
	}
	half := k.cut
	k.cut = false
	d.debris, d.state = half, Clean
	if err := d.writeFilesystem(kind, d.size()/blockSize*blockSize, newUUID(), half); err != nil {
		return exit(name, 1, "%s: %v", path, err)
	}
	if half {
		return fmt.Errorf("%s was stopped: %w", name, context.Canceled)
	}
	return nil
}

// onlyOnBlank is stricter than any mkfs: data is never formatted, whatever the caller thinks it
// has proven.
func (k *Kernel) onlyOnBlank(d *disk, name, path string) error {
	blank, err := d.blank()
	if err != nil {
		return exit(name, 1, "%s: %v", path, err)
	}
	if blank || d.debris {
		return nil
	}
	k.t.Errorf("mounttest: %s on %s, which holds data", name, path)
	return exit(name, 1, "%s holds data", path)
}

func (k *Kernel) fsckExt4(options []string, path string) error {
	const name = "fsck.ext4"
	d, err := k.diskAt(path)
	if err != nil {
		return exit(name, 8, "%v while trying to open %s", err, path)
	}
	if d.exclusive > 0 || k.isMounted(d) {
		return exit(name, 8, "%s is in use.\ne2fsck: Cannot continue, aborting.", path)
	}
	fs, err := d.filesystem()
	switch {
	case err != nil:
		return exit(name, 8, "Attempt to read block from filesystem resulted in short read while trying to open %s", path)
	case fs.kind != "ext4":
		return exit(name, 8, "Bad magic number in super-block while trying to open %s", path)
	case !slices.Contains(options, "-p"):
		return exit(name, 8, "need terminal for interactive repairs")
	case d.state == Corrupt:
		return exit(name, 4, "%s: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.", path)
	}
	d.checked = d.checked || slices.Contains(options, "-f")
	repaired := d.state == Dirty
	if err := d.setState(Clean); err != nil {
		return exit(name, 8, "%v", err)
	}
	if repaired {
		return exit(name, 1, "")
	}
	return nil
}

func (k *Kernel) resize2fs(path string) error {
	const name = "resize2fs"
	d, err := k.diskAt(path)
	if err != nil {
		return exit(name, 1, "open: %v while opening %s", err, path)
	}
	fs, err := d.filesystem()
	if err != nil || fs.kind != "ext4" {
		return exit(name, 1, "Bad magic number in super-block while trying to open %s", path)
	}
	switch mounted := k.isMounted(d); {
	case mounted && k.weak:
		return exit(name, 1, "resize2fs: Permission denied to resize filesystem")
	case !mounted && d.exclusive > 0:
		return exit(name, 1, "resize2fs: Device or resource busy while trying to open %s", path)
	case !mounted && !d.checked:
		return exit(name, 1, "Please run 'e2fsck -f %s' first.", path)
	}
	return k.regrow(name, d, fs)
}

func (k *Kernel) growMounted(name, kind, mountpoint string) error {
	there, ok := k.top(mountpoint)
	if !ok || there.FSType != kind {
		return exit(name, 1, "%s is not a mounted %s filesystem", mountpoint, kind)
	}
	if there.ReadOnly() {
		return exit(name, 1, "%s: Read-only file system", mountpoint)
	}
	d := k.diskOf(there)
	if d == nil {
		return exit(name, 1, "%s: Input/output error", mountpoint)
	}
	fs, err := d.filesystem()
	if err != nil {
		return exit(name, 1, "%s: %v", mountpoint, err)
	}
	return k.regrow(name, d, fs)
}

func (k *Kernel) regrow(name string, d *disk, fs filesystem) error {
	if err := d.writeFilesystem(fs.kind, d.size()/blockSize*blockSize, fs.uuid, false); err != nil {
		return exit(name, 1, "%v", err)
	}
	return nil
}

func (k *Kernel) diskOf(point host.MountPoint) *disk {
	for _, d := range k.disks {
		if d.num == point.Dev {
			return d
		}
	}
	return nil
}
