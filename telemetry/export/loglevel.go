package export

import (
	"net/http"
	"net/netip"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// maxLevelBody is far above {"level":"debug"}.
const maxLevelBody = 1 << 10

// logLevelHandler reads the level (GET) and sets it (PUT), for who is on this host or in this
// pod, as with kubectl port-forward. Everyone who can scrape must not be able to silence the log.
func logLevelHandler(level *telemetry.LogLevel, log *zap.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromLoopback(r) {
			http.Error(w, "the log level is for loopback only: use kubectl port-forward or kubectl exec", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxLevelBody)
		level.Change(log, r.Method+" /loglevel from "+r.RemoteAddr, func(now zap.AtomicLevel) { now.ServeHTTP(w, r) })
	})
}

func fromLoopback(r *http.Request) bool {
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && client.Addr().Unmap().IsLoopback()
}
