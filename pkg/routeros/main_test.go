package routeros

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// See exchange.open: the tests kill connections on purpose, now and then in that moment.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("golang.org/x/crypto/ssh.(*mux).openChannel"))
}
