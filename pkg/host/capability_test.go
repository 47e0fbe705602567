package host

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// The other way to ask: bit 24 of CapEff in /proc (include/uapi/linux/capability.h).
func TestHasSysResourceAgreesWithProc(t *testing.T) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(status), "CapEff:")
	line, _, _ := strings.Cut(rest, "\n")
	set, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if !ok || err != nil {
		t.Fatalf("CapEff %q: %v", line, err)
	}
	if got, err := HasSysResource(); err != nil || got != (set&(1<<24) != 0) {
		t.Errorf("HasSysResource = %v, %v; CapEff is %#x", got, err, set)
	}
}
