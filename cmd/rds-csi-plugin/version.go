package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker (-X main.version=...) in releases; it can set nothing but a variable.
var version = "dev"

// buildRevision is the commit the binary was built from, where the build recorded it.
func buildRevision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}

func buildVersion() string {
	return fmt.Sprintf("rds-csi-plugin %s %s %s/%s %s", version, buildRevision(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
