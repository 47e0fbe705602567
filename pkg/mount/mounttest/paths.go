package mounttest

import "path/filepath"

// realPath is a path as the kernel takes it and mountinfo shows it: without symbolic links. The
// nodes of the disks are in no directory of this machine and stay as they are.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return parentResolved(path)
}

// parentResolved is realPath for a call that does not follow the last element (UMOUNT_NOFOLLOW).
func parentResolved(path string) string {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return path
	}
	return filepath.Join(dir, filepath.Base(path))
}
