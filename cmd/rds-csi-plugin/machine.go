package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// machineID tells this machine from every other, also from one cloned from the same image: the
// board's UUID, else /etc/machine-id, else a UUID that is made once and kept in dir.
func machineID(dir string) (string, error) {
	for _, path := range []string{"/sys/class/dmi/id/product_uuid", "/etc/machine-id"} {
		data, err := os.ReadFile(path)
		if id := strings.TrimSpace(string(data)); err == nil && id != "" {
			return id, nil
		}
	}
	return keptID(filepath.Join(dir, "machine-id"))
}

func keptID(path string) (string, error) {
	data, err := os.ReadFile(path)
	switch id := strings.TrimSpace(string(data)); {
	case err == nil && id != "":
		return id, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("read this machine's id: %w", err)
	}
	id := uuid.NewString()
	if err := host.ReplaceFile(path, []byte(id+"\n")); err != nil {
		return "", fmt.Errorf("keep this machine's id: %w", err)
	}
	return id, nil
}
