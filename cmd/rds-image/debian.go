package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func defaultCache() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "rds-csi-driver", "image"), err
}

// download gives the files of the packages for a processor, with package lists of its own: this machine's
// may be old, and are for another processor. What an earlier run has downloaded is taken as it is.
func download(ctx context.Context, cache, arch string) ([]string, error) {
	sum := sha256.Sum256([]byte(strings.Join(packages(), " ")))
	dir := filepath.Join(cache, arch+"-"+hex.EncodeToString(sum[:8]))
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) == len(packages()) {
		return debs, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(cache, "download-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := fetch(ctx, tmp, arch); err != nil {
		return nil, err
	}
	// Another run may have been faster: then its result stays.
	if err := os.Rename(filepath.Join(tmp, "debs"), dir); err != nil && !os.IsExist(err) {
		return nil, err
	}
	return filepath.Glob(filepath.Join(dir, "*.deb"))
}

func fetch(ctx context.Context, tmp, arch string) error {
	for _, dir := range []string{"debs", "lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(tmp, dir), 0o755); err != nil {
			return err
		}
	}
	// Sandbox: apt's own user may not write here.
	apt := []string{
		"apt-get", "-qq", "-o", "APT::Sandbox::User=", "-o", "APT::Architecture=" + arch, "-o", "APT::Architectures=" + arch,
		"-o", "Dir::State::Lists=" + filepath.Join(tmp, "lists"), "-o", "Dir::Cache=" + tmp,
	}
	debs := filepath.Join(tmp, "debs")
	if _, err := command(ctx, debs, append(apt, "update")...); err != nil {
		return err
	}
	if _, err := command(ctx, debs, append(append(apt, "download"), packages()...)...); err != nil {
		return fmt.Errorf("%w (it takes the sources of Debian 12, main and security)", err)
	}
	return nil
}

// unpack reads packages into one tree, with an entry for each of them where scanners of images look when no
// package manager is there.
func unpack(ctx context.Context, debs []string) (tree, error) {
	t := newTree()
	for _, deb := range debs {
		archive, err := command(ctx, "", "dpkg-deb", "--fsys-tarfile", deb)
		if err != nil {
			return nil, err
		}
		if err := t.add(bytes.NewReader(archive)); err != nil {
			return nil, fmt.Errorf("read %s: %w", deb, err)
		}
		status, err := command(ctx, "", "dpkg-deb", "--field", deb)
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(filepath.Base(deb), "_")
		t.file(statusDir+name, 0o644, status)
	}
	return t, nil
}

const statusDir = "var/lib/dpkg/status.d/"

// command runs a program and gives its output.
func command(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out, problems bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &problems
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(problems.Bytes()))
	}
	return out.Bytes(), nil
}
