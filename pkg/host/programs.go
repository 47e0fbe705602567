package host

import "os/exec"

// Installed is nil where a program is found in PATH.
func Installed(name string) error {
	if _, err := exec.LookPath(name); err != nil {
		return startError(name, err)
	}
	return nil
}
