package mount_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/mount/mounttest"
)

const (
	device = "/dev/nvme0n1"
	size   = 512 << 20
)

func number() host.DevNum { return host.DevNum{Major: 259, Minor: 1} }

func alive(context.Context) error { return nil }

func all(host.MountPoint) bool { return true }

// node is a machine with one disk, its mounter and what that has decided.
type node struct {
	*mounttest.Kernel
	m   *mount.Mounter
	log *observer.ObservedLogs
	dir string
}

func newNode(t *testing.T) *node {
	core, logs := observer.New(zapcore.InfoLevel)
	k := mounttest.New(t)
	k.AddDisk(device, number(), size)
	config := fakeConfig(k)
	config.Log = zap.New(core)
	return &node{Kernel: k, m: mount.New(config), log: logs, dir: t.TempDir()}
}

// decisions are those of the events rds_csi.format.decision.
func (n *node) decisions() []string {
	var all []string
	for _, entry := range n.log.FilterMessage("rds_csi.format.decision").All() {
		all = append(all, entry.ContextMap()["decision"].(string))
	}
	return all
}

type record struct {
	formatting bool
	fail       error
	done       int
}

func (r *record) Formatting() bool { return r.formatting }
func (r *record) Formatted() bool  { return r.done > 0 }
func (r *record) Begin(string) error {
	if r.fail != nil {
		return r.fail
	}
	r.formatting = true
	return nil
}
func (r *record) Done() error {
	r.formatting = false
	r.done++
	return nil
}

func (n *node) format(ctx context.Context, journal *record) (bool, error) {
	o, err := n.m.EnsureFormatted(ctx, mount.FormatRequest{
		Device: device, Num: number(), FSType: "ext4", Size: size, Blank: true, Journal: journal,
		Live: alive,
	})
	return o.Formatted, err
}

func (n *node) stage(t *testing.T) (path string) {
	t.Helper()
	if formatted, err := n.format(t.Context(), &record{}); err != nil || !formatted {
		t.Fatalf("format = %v, %v", formatted, err)
	}
	path = filepath.Join(n.dir, "stage")
	if _, err := n.m.Mount(t.Context(), mount.MountRequest{Device: device, Num: number(), Target: path, FSType: "ext4", Live: alive}); err != nil {
		t.Fatal(err)
	}
	return path
}

func (n *node) ranMkfs() bool {
	return slices.ContainsFunc(n.Calls(), func(call string) bool { return strings.HasPrefix(call, "mkfs.") })
}
