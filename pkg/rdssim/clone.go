package rdssim

import (
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// snapshot copies a subvolume. A snapshot's files cost nothing, as Btrfs
// shares their blocks until one side changes. Nested subvolumes are not part
// of it: they show as empty directories.
func (f *files) snapshot(source, target string) error {
	for _, n := range f.below(source) {
		name := target + strings.TrimPrefix(n.name, source)
		if n.dir {
			if f.insideNested(source, n) {
				continue
			}
			if _, err := f.makeDir(name, n.name == source); err != nil {
				return err
			}
			continue
		}
		if f.insideNested(source, n) {
			continue
		}
		if err := cloneFile(f.hostPath(n.name), f.hostPath(name)); err != nil {
			return err
		}
		f.insert(&node{name: name, size: n.size, shared: true})
	}
	return nil
}

// insideNested reports whether a node lies in a subvolume within the source.
func (f *files) insideNested(source string, n *node) bool {
	for _, other := range f.below(source) {
		if other.volume && other.name != source && strings.HasPrefix(n.name, other.name+"/") {
			return true
		}
	}
	return false
}

// cloneFile copies a sparse file: by reflink where the file system can, else
// the parts that hold data.
func cloneFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) != nil {
		err = copySparse(in, out)
	}
	return errors.Join(err, out.Close())
}

func copySparse(in, out *os.File) error {
	size, err := in.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if err := out.Truncate(size); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		start, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(int(in.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, start), io.NewSectionReader(in, start, end-start)); err != nil {
			return err
		}
		at = end
	}
	return nil
}
