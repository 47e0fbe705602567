package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// node is one entry of a file system. A directory has a mode alone.
type node struct {
	mode   int64
	dir    bool
	target string // of a symbolic link
	data   []byte
}

// tree is a file system in memory, by paths without a leading slash, all owned by root. /bin, /sbin and /lib
// are links into /usr, as in Debian; paths are those below /usr.
type tree map[string]node

func newTree() tree {
	t := tree{}
	for _, name := range mergedDirs() {
		t[name] = node{target: "usr/" + name}
	}
	return t
}

func mergedDirs() []string { return []string{"bin", "sbin", "lib", "lib64"} }

// merged is where a path of a package is: Debian 12's still have some in /bin and /lib.
func merged(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if first, rest, nested := strings.Cut(name, "/"); nested && slices.Contains(mergedDirs(), first) {
		return "usr/" + first + "/" + rest
	}
	return name
}

func (t tree) file(name string, mode int64, data []byte) { t[name] = node{mode: mode, data: data} }

func (t tree) directory(name string, mode int64) { t[name] = node{mode: mode, dir: true} }

// add puts in what a package's tar archive has.
func (t tree) add(archive io.Reader) error {
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := merged(header.Name)
		switch header.Typeflag {
		case tar.TypeReg:
			data, err := io.ReadAll(reader)
			if err != nil {
				return err
			}
			t.file(name, header.Mode&0o777, data) // no set-user-id: nobody logs in here
		case tar.TypeSymlink:
			t[name] = node{target: header.Linkname}
		case tar.TypeLink:
			t[name] = t[merged(header.Linkname)]
		}
	}
}

// resolve follows symbolic links, of the last element and of merged directories, to a file.
func (t tree) resolve(name string) (string, error) {
	at := merged(name)
	for range 10 {
		entry, ok := t[at]
		switch {
		case !ok || entry.dir:
			return "", fmt.Errorf("/%s is in none of the packages", name)
		case entry.target == "":
			return at, nil
		case path.IsAbs(entry.target):
			at = merged(entry.target)
		default:
			at = merged(path.Join(path.Dir(at), entry.target))
		}
	}
	return "", fmt.Errorf("/%s: too many symbolic links", name)
}

// names are sorted, and have every directory before what is in it.
func (t tree) names() []string {
	all := map[string]bool{}
	for name := range t {
		for ; name != "."; name = path.Dir(name) {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (t tree) header(name string) *tar.Header {
	entry, ok := t[name]
	header := &tar.Header{Name: name, Mode: entry.mode, ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg, Size: int64(len(entry.data))}
	switch {
	case !ok:
		header.Name, header.Mode, header.Typeflag = name+"/", 0o755, tar.TypeDir
	case entry.dir:
		header.Name, header.Typeflag = name+"/", tar.TypeDir
	case entry.target != "":
		header.Mode, header.Typeflag, header.Linkname = 0o777, tar.TypeSymlink, entry.target
	}
	return header
}

// layer is the tree as a tar archive: the same bytes for the same tree.
func (t tree) layer() ([]byte, error) {
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	for _, name := range t.names() {
		if err := writer.WriteHeader(t.header(name)); err != nil {
			return nil, err
		}
		if _, err := writer.Write(t[name].data); err != nil {
			return nil, err
		}
	}
	err := writer.Close() // it writes the archive's end
	return out.Bytes(), err
}

// write makes a directory of the tree; it belongs to the user that does so.
func (t tree) write(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, name := range t.names() {
		if err := t.writeNode(name, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return err
		}
	}
	return nil
}

func (t tree) writeNode(name, at string) error {
	header := t.header(name)
	switch header.Typeflag {
	case tar.TypeSymlink:
		return os.Symlink(header.Linkname, at)
	case tar.TypeDir:
		if err := os.Mkdir(at, 0o755); err != nil {
			return err
		}
	default:
		if err := os.WriteFile(at, t[name].data, 0o600); err != nil {
			return err
		}
	}
	mode := os.FileMode(header.Mode & 0o777)
	if header.Mode&0o1000 != 0 {
		mode |= os.ModeSticky
	}
	return os.Chmod(at, mode) // the umask is the caller's
}
