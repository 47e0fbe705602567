package rdssim

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestARestartKeepsItemsKeysAndExports(t *testing.T) {
	dir := t.TempDir()
	a := start(t, Options{Dir: dir})
	volume(t, a, "one")
	quiet(t, a, `/disk set one comment="kept \"so\"" nvme-tcp-export=yes nvme-tcp-server-nqn=nqn.one nvme-tcp-server-allow-host-name=nqn.h`,
		`/disk/btrfs/subvolume add fs=storage-pool-fs name=sub read-only=yes`, `/system identity set name=attic`)
	items, key := a.Items(), a.HostKeyFingerprint()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "exports/nqn.one")); !os.IsNotExist(err) {
		t.Errorf("a stopped array exports: %v", err)
	}
	b := start(t, Options{Dir: dir})
	if got := b.Items(); !slices.EqualFunc(got, items, func(x, y Item) bool {
		return x.Slot == y.Slot && x.Comment == y.Comment && x.UUID == y.UUID && x.Size == y.Size && slices.Equal(x.Hosts, y.Hosts)
	}) {
		t.Errorf("items %+v\nwere %+v", got, items)
	}
	if b.HostKeyFingerprint() != key {
		t.Error("another host key")
	}
	if !b.MayConnect("nqn.one", "nqn.h") || b.MayConnect("nqn.one", "nqn.other") {
		t.Error("the export is not back")
	}
	say(t, b, `:put [/system/identity get name]; :put [/disk/btrfs/subvolume get sub read-only]; :put [/disk add type=file file-path=storage-pool/x file-size=1M slot=x]`, "attic\r\ntrue\r\n*4\r\n")
}

func TestAMissingBackingFileDoesNotStopABoot(t *testing.T) {
	dir := t.TempDir()
	a := start(t, Options{Dir: dir})
	volume(t, a, "one")
	quiet(t, a, `/disk set one nvme-tcp-export=yes nvme-tcp-server-nqn=nqn.one`)
	if err := a.RemoveFile("one"); err != nil {
		t.Fatal(err)
	}
	if err := a.RemoveFile("one"); err == nil {
		t.Error("removed twice")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b := start(t, Options{Dir: dir})
	if b.MayConnect("nqn.one", "h") {
		t.Error("exports nothing as something")
	}
	quiet(t, b, `/disk set one nvme-tcp-export=no`)
	say(t, b, `/disk set one nvme-tcp-export=yes`, "failure: could not open /storage-pool/one/disk.img\r\n")
}

func TestTwoArraysDoNotShareADirectory(t *testing.T) {
	a := start(t, Options{})
	if _, err := Start(t.Context(), Options{Dir: a.opts.Dir}); err == nil || !strings.Contains(err.Error(), "another simulated array runs in it") {
		t.Errorf("got %v", err)
	}
}

func TestACorruptStateIsSaid(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("got %v", err)
	}
}

func TestTheContextEndsTheArray(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a, err := Start(ctx, Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	client := dial(t, a)
	cancel()
	eventually(t, "the connection is cut", func() bool {
		_, err := remote(client, `:put ok`)
		return err != nil
	})
	eventually(t, "nobody listens", func() bool { return !listens(t, a.SSHAddr()) })
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	for want, opts := range map[string]Options{
		"state directory":    {},
		`version "8"`:        {Dir: "x", Version: "8"},
		"given twice":        {Dir: "x", Pools: []Pool{{"p", "xfs", 1}, {"p", "xfs", 1}}},
		`file system "zfs"`:  {Dir: "x", Pools: []Pool{{"p", "zfs", 1}}},
		"its size is zero":   {Dir: "x", Pools: []Pool{{"p", "xfs", 0}}},
		`pool name "a/b"`:    {Dir: "x", Pools: []Pool{{"a/b", "xfs", 1}}},
		`export "iscsi"`:     {Dir: "x", Export: "iscsi"},
		`host key type "ec"`: {Dir: "x", HostKeyType: "ec"},
	} {
		if err := opts.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", opts, err, want)
		}
	}
	for _, text := range []string{"x", "a:btrfs", "a:btrfs:1X", "a:btrfs:99999999999T", "a:btrfs:"} {
		if p, err := ParsePool(text); err == nil {
			t.Errorf("%q is read as %+v", text, p)
		}
	}
	if p, err := ParsePool("a:xfs:2T"); err != nil || p != (Pool{"a", "xfs", 2 << 40}) {
		t.Errorf("a:xfs:2T is %+v, %v", p, err)
	}
}
