package guest

import (
	"os"
	"testing"
)

// TestTrouble makes the trouble that pkg/e2e/vm wants, to see that it sees it.
func TestTrouble(t *testing.T) {
	switch kind := os.Getenv("RDS_E2E_TROUBLE"); kind {
	case "":
		t.Skip("no trouble is wanted")
	case "fail":
		t.Error("as wanted")
	case "exit":
		os.Exit(7)
	case "hang":
		select {}
	case "panic":
		write(t, "/proc/sysrq-trigger", "c")
	case "reboot":
		write(t, "/proc/sysrq-trigger", "b")
	case "complaint":
		write(t, "/dev/kmsg", "<4>WARNING: as wanted")
	default:
		t.Fatalf("unknown trouble %q", kind)
	}
}
