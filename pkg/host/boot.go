package host

import (
	"fmt"
	"os"
	"strings"
)

// BootID names this boot of the kernel (random(4)): devices and mounts of another one are gone.
func BootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the id of this boot: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
