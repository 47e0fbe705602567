package driver

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Ginkgo listens for interrupts as long as the process lives.
		goleak.IgnoreAnyFunction("github.com/onsi/ginkgo/v2/internal/interrupt_handler.(*InterruptHandler).registerForInterrupts.func2"),
		// x/crypto/ssh waits for ever where a connection dies while a session is asked for (pkg/routeros, exchange.open).
		goleak.IgnoreAnyFunction("git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros.(*exchange).open.func1"),
	)
}
