package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// packageOf is a package's tar archive.
func packageOf(t *testing.T, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	for _, h := range headers {
		content := h.Linkname
		if h.Typeflag == tar.TypeReg {
			h.Linkname, h.Size = "", int64(len(content))
		}
		if err := writer.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := writer.Write([]byte(content)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return &out
}

// example has a file in /sbin with links to it, as Debian's packages have.
func example(t *testing.T) tree {
	t.Helper()
	root := newTree()
	err := root.add(packageOf(t,
		tar.Header{Name: "./sbin/mke2fs", Typeflag: tar.TypeReg, Mode: 0o4755, Linkname: "program"},
		tar.Header{Name: "./sbin/mkfs.ext4", Typeflag: tar.TypeSymlink, Linkname: "mke2fs"},
		tar.Header{Name: "./usr/bin/absolute", Typeflag: tar.TypeSymlink, Linkname: "/sbin/mkfs.ext4"},
		tar.Header{Name: "./usr/bin/hard", Typeflag: tar.TypeLink, Linkname: "./sbin/mke2fs"},
		tar.Header{Name: "./usr/bin/round", Typeflag: tar.TypeSymlink, Linkname: "round"},
		tar.Header{Name: "./usr/bin/nowhere", Typeflag: tar.TypeSymlink, Linkname: "gone"},
	))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestResolveFollowsLinksOfMergedDirectories(t *testing.T) {
	root := example(t)
	for name, want := range map[string]string{
		"sbin/mke2fs": "usr/sbin/mke2fs", "/sbin/mkfs.ext4": "usr/sbin/mke2fs", "usr/bin/absolute": "usr/sbin/mke2fs",
		"usr/bin/hard": "usr/bin/hard",
	} {
		if got, err := root.resolve(name); got != want || err != nil {
			t.Errorf("%s leads to %q (%v), want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"usr/bin/nowhere", "usr/bin/round", "usr/sbin"} {
		if got, err := root.resolve(name); err == nil {
			t.Errorf("%s leads to %q, which is no file", name, got)
		}
	}
}

func TestALayerIsTheSameEachTimeAndOfRootAlone(t *testing.T) {
	first, err := example(t).layer()
	if err != nil {
		t.Fatal(err)
	}
	second, err := example(t).layer()
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("two layers of one tree differ (%v)", err)
	}
	if end := make([]byte, 1024); !bytes.HasSuffix(first, end) {
		t.Error("the archive has no end")
	}
	seen := map[string]bool{".": true}
	for reader := tar.NewReader(bytes.NewReader(first)); ; {
		h, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(h.Name, "/")
		if !seen[filepath.Dir(name)] {
			t.Errorf("%s comes before its directory", name)
		}
		seen[name] = true
		if h.Uid != 0 || h.Gid != 0 || h.Mode&0o6000 != 0 {
			t.Errorf("%s: user %d, group %d, mode %o", name, h.Uid, h.Gid, h.Mode)
		}
	}
	if !seen["usr/sbin/mke2fs"] || !seen["sbin"] {
		t.Errorf("the layer has only %v", seen)
	}
}

func TestWriteMakesWhatTheLayerHas(t *testing.T) {
	root := example(t)
	root.directory("tmp", 0o1777)
	dir := filepath.Join(t.TempDir(), "root")
	if err := root.write(dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, name); rel != "." {
			got = append(got, rel)
		}
		return err
	})
	slices.Sort(got)
	if err != nil || !slices.Equal(got, root.names()) {
		t.Errorf("%v: written %q, want %q", err, got, root.names())
	}
	if info, err := os.Stat(filepath.Join(dir, "tmp")); err != nil || info.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("/tmp: %v, %v", info.Mode(), err)
	}
	if target, err := os.Readlink(filepath.Join(dir, "sbin")); target != "usr/sbin" {
		t.Errorf("/sbin leads to %q (%v)", target, err)
	}
	if err := root.write(dir); err == nil {
		t.Error("it was written over what is there")
	}
}
