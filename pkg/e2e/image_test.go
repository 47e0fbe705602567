package e2e

import (
	"bytes"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// output gives a program's output, which ends the test if it fails.
func output(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(program.Soon(t), args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// container is the driver's image, and the directory that its one layer is unpacked in.
type container struct {
	image v1.Image
	index *v1.IndexManifest
	root  string
}

// buildImage has rds-image write an archive, and reads it as a container engine does.
func buildImage(t *testing.T, arch string) container {
	t.Helper()
	for _, name := range []string{"apt-get", "dpkg-deb", "tar"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("left out: the image's packages come from Debian, and %s is not here", name)
		}
	}
	dir := t.TempDir()
	archive, oci, root := filepath.Join(dir, "image.tar"), filepath.Join(dir, "oci"), filepath.Join(dir, "root")
	output(t, built("rds-image"), "--source", "../..", "--arch", arch, "--archive", archive,
		"--tag", "registry.example/rds:1", "--version", "1.2.3", "--revision", "0123abc", "--created", "2026-11-26T18:00:00Z")
	for _, to := range []string{oci, root} {
		if err := os.Mkdir(to, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	output(t, "tar", "-xf", archive, "-C", oci)
	index, err := layout.ImageIndexFromPath(oci)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("%v: %+v", err, manifest)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%v: %d layers", err, len(layers))
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	unpack := exec.CommandContext(program.Soon(t), "tar", "-x", "--no-same-owner", "-C", root)
	unpack.Stdin = content
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return container{img, manifest, root}
}

func TestImageSaysWhatItIs(t *testing.T) {
	c := buildImage(t, "amd64")
	file, err := c.image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.Architecture != "amd64" || file.OS != "linux" || file.Config.User != "65532:65532" {
		t.Errorf("for %s/%s, as user %q", file.OS, file.Architecture, file.Config.User)
	}
	if got := strings.Join(file.Config.Entrypoint, " "); got != "/usr/bin/rds-csi-plugin" {
		t.Errorf("entrypoint %q", got)
	}
	for label, want := range map[string]string{
		"version": "1.2.3", "revision": "0123abc", "licenses": "Apache-2.0", "created": "2026-11-26T18:00:00Z",
	} {
		if got := file.Config.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}
	names := c.index.Manifests[0].Annotations
	if names["io.containerd.image.name"] != "registry.example/rds:1" || names["org.opencontainers.image.ref.name"] != "registry.example/rds:1" {
		t.Errorf("named %v", names)
	}
}

// TestImageRunsWhatTheDriverRuns enters the image's root file system and starts each program in it. Which
// programs the driver runs is compared with its source in cmd/rds-image.
func TestImageRunsWhatTheDriverRuns(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("left out: chroot into the image needs root")
	}
	c := buildImage(t, "amd64")
	for args, want := range map[string]string{
		"rds-csi-plugin --version": "rds-csi-plugin 1.2.3", "blkid -V": "blkid from util-linux", "btrfs --version": "btrfs-progs v",
		"fsck.ext4 -V": "e2fsck 1.", "losetup -V": "losetup from util-linux", "mkfs.btrfs -V": "mkfs.btrfs, part of", "mkfs.ext4 -V": "mke2fs 1.",
		"mkfs.xfs -V": "mkfs.xfs version", "modprobe -V": "kmod version",
		"xfs_growfs -V": "xfs_growfs version", "resize2fs": "resize2fs 1.",
	} {
		// resize2fs knows no option for its version, and fails without a device.
		cmd := exec.CommandContext(program.Soon(t), "chroot", append([]string{"--userspec=65532:65532", c.root}, strings.Fields(args)...)...)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), want) || err != nil && args != "resize2fs" {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
	formats(t, c.root)
}

// inside runs a program in the image, with the /proc that each container has.
func inside(root string, args ...string) []string {
	return append([]string{"unshare", "--mount", "--pid", "--fork", "--mount-proc", "--root=" + root}, args...)
}

// formats makes the file systems of the driver with the image's programs alone.
func formats(t *testing.T, root string) {
	t.Helper()
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		disk := filepath.Join(root, "tmp", fsType)
		if err := os.WriteFile(disk, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(disk, 512<<20); err != nil {
			t.Fatal(err)
		}
		output(t, inside(root, "/sbin/mkfs."+fsType, "/tmp/"+fsType)...)
		if got := output(t, inside(root, "/sbin/blkid", "-p", "-o", "export", "/tmp/"+fsType)...); !strings.Contains(got, "TYPE="+fsType+"\n") {
			t.Errorf("blkid says of a %s:\n%s", fsType, got)
		}
	}
}

func TestImageHasNoShellAndTellsItsPackages(t *testing.T) {
	c := buildImage(t, "amd64")
	for _, name := range []string{"bin/sh", "usr/bin/bash", "usr/bin/busybox", "usr/bin/perl"} {
		if _, err := os.Lstat(filepath.Join(c.root, name)); err == nil {
			t.Errorf("the image has /%s", name)
		}
	}
	for _, name := range []string{"xfsprogs", "libc6", "libssl3"} {
		status, err := os.ReadFile(filepath.Join(c.root, "var/lib/dpkg/status.d", name))
		if err != nil || !bytes.Contains(status, []byte("Package: "+name+"\n")) || !bytes.Contains(status, []byte("\nVersion: ")) {
			t.Errorf("%s: %v\n%s", name, err, status)
		}
		if _, err := os.Stat(filepath.Join(c.root, "usr/share/doc", name, "copyright")); err != nil {
			t.Error(err)
		}
	}
	authorities, err := os.ReadFile(filepath.Join(c.root, "etc/ssl/certs/ca-certificates.crt"))
	if n := bytes.Count(authorities, []byte("BEGIN CERTIFICATE")); err != nil || n < 100 {
		t.Errorf("%v: %d authorities", err, n)
	}
}

func TestImageForARMHasProgramsForARM(t *testing.T) {
	if os.Getenv("RDS_E2E_FULL") == "" {
		t.Skip("left out: the image for arm64, which compiles everything again; RDS_E2E_FULL=1 has it built")
	}
	c := buildImage(t, "arm64")
	programs := 0
	err := filepath.WalkDir(filepath.Join(c.root, "usr"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		file, err := elf.Open(name)
		if err != nil {
			return nil // a text
		}
		defer file.Close()
		programs++
		if file.Machine != elf.EM_AARCH64 {
			t.Errorf("%s is for %v", name, file.Machine)
		}
		return nil
	})
	if err != nil || programs < 30 {
		t.Errorf("%v: %d programs and libraries", err, programs)
	}
}
