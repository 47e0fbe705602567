package export

import (
	"net"
	"strings"
	"testing"
)

// A scraper that keeps a connection it has not used yet loses nothing by being cut off.
func TestAnIdleClientIsNoReasonToWarn(t *testing.T) {
	setEnv(t)
	tel, _ := setup(t, Config{MetricsAddress: "127.0.0.1:0"})
	address := strings.TrimSuffix(strings.TrimPrefix(serve(t, tel), "http://"), "/metrics")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}
