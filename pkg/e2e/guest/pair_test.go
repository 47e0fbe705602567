package guest

import (
	"net"
	"os"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// The two guests of a pair (pkg/e2e/vm) have these addresses on their common network.
const (
	firstAddress  = "10.77.0.1"
	secondAddress = "10.77.0.2"
)

// station is which of a pair this guest is: 1 or 2.
func station(t *testing.T) string {
	t.Helper()
	s := os.Getenv("RDS_E2E_STATION")
	if s == "" {
		t.Fatal("RDS_E2E_STATION is not set: this test runs in a pair of guests")
	}
	return s
}

func TestPairIsConnected(t *testing.T) {
	if station(t) == "1" {
		l, err := net.Listen("tcp", firstAddress+":7777")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if host, _, err := net.SplitHostPort(c.RemoteAddr().String()); err != nil || host != secondAddress {
			t.Errorf("%s called", c.RemoteAddr())
		}
		return
	}
	program.Await(t, "the other guest answers", func() bool {
		c, err := net.DialTimeout("tcp", firstAddress+":7777", time.Second)
		return err == nil && c.Close() == nil
	})
}
