package rdssim

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// node is a file or directory of a pool. Its name has the pool's mount point in
// front and no leading slash: storage-pool/csi-1/disk.img.
type node struct {
	id     int
	name   string
	dir    bool
	volume bool // a Btrfs subvolume
	size   uint64
	// shared: the blocks belong to a snapshot's source, so they cost nothing.
	shared bool
}

// files is the tree of all pools, kept in memory beside the real one below
// root: listing thousands of files must not cost thousands of system calls.
type files struct {
	root   string
	nodes  map[string]*node
	names  []string // sorted
	nextID int
}

// scanFiles reads the tree of the pools.
func scanFiles(root string) (*files, error) {
	f := &files{root: root, nodes: map[string]*node{}}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		n := &node{name: filepath.ToSlash(name), dir: d.IsDir()}
		if !n.dir {
			n.size = uint64(info.Size())
		}
		f.insert(n)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("pools below %s: %w", root, err)
	}
	return f, nil
}

func (f *files) insert(n *node) {
	f.nextID++
	n.id = f.nextID
	f.nodes[n.name] = n
	i, _ := slices.BinarySearch(f.names, n.name)
	f.names = slices.Insert(f.names, i, n.name)
}

// hostPath is where a node really lies.
func (f *files) hostPath(name string) string {
	return filepath.Join(f.root, filepath.FromSlash(name))
}

// modified is when the real file last changed.
func (f *files) modified(name string) time.Time {
	info, err := os.Stat(f.hostPath(name))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// below lists a node and all in it, parents first.
func (f *files) below(name string) []*node {
	var found []*node
	for _, n := range f.names {
		if n == name || strings.HasPrefix(n, name+"/") {
			found = append(found, f.nodes[n])
		}
	}
	return found
}

// used is what the files of a pool cost. A file disk takes its whole size at
// once (facts: preallocated, measured on XFS).
func (f *files) used(pool string) uint64 {
	var sum uint64
	for _, n := range f.nodes {
		if !n.shared && poolOf(n.name) == pool {
			sum += n.size
		}
	}
	return sum
}

func poolOf(name string) string {
	pool, _, _ := strings.Cut(name, "/")
	return pool
}

// makeDir makes a directory or subvolume.
func (f *files) makeDir(name string, volume bool) (*node, error) {
	if err := os.Mkdir(f.hostPath(name), 0o755); err != nil {
		return nil, err
	}
	n := &node{name: name, dir: true, volume: volume}
	f.insert(n)
	return n, nil
}

// makeFile makes a sparse file.
func (f *files) makeFile(name string, size uint64) error {
	file, err := os.OpenFile(f.hostPath(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(int64(size)); err != nil {
		return err
	}
	f.insert(&node{name: name, size: size})
	return file.Close()
}

// resize changes a file's length.
func (f *files) resize(n *node, size uint64) error {
	if err := os.Truncate(f.hostPath(n.name), int64(size)); err != nil {
		return err
	}
	n.size, n.shared = size, false
	return nil
}

// remove deletes a node and all below it.
func (f *files) remove(name string) error {
	err := os.RemoveAll(f.hostPath(name))
	for _, n := range f.below(name) {
		delete(f.nodes, n.name)
	}
	f.names = slices.DeleteFunc(f.names, func(n string) bool { return f.nodes[n] == nil })
	return err
}

// cleanName takes a leading slash off and refuses what is no path inside a
// pool.
func cleanName(name string) (string, bool) {
	name = strings.TrimPrefix(name, "/")
	ok := name != "" && path.Clean(name) == name && !strings.HasPrefix(name, "../") && name != ".." &&
		name != "." && !strings.ContainsRune(name, 0)
	return name, ok
}

// writeText makes a small file with contents.
func (f *files) writeText(name, text string) error {
	if err := os.WriteFile(f.hostPath(name), []byte(text), 0o644); err != nil {
		return err
	}
	f.insert(&node{name: name, size: uint64(len(text))})
	return nil
}
