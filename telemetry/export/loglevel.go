package export

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"

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
		switch r.Method {
		case http.MethodGet:
		case http.MethodPut:
			asked, err := levelIn(w, r)
			if err == nil {
				err = level.Set(log, "PUT /loglevel from "+r.RemoteAddr, asked)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		default:
			w.Header().Set("Allow", "GET, PUT")
			http.Error(w, "only GET and PUT", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(levelBody{level.Level().String()}) // the client may have gone
	})
}

// levelBody is what is sent and answered, as by zap's own handler, which would take fatal as well.
type levelBody struct {
	Level string `json:"level"`
}

// levelIn is the level that a request asks for, as JSON or as a form, which is what curl -d sends.
func levelIn(w http.ResponseWriter, r *http.Request) (string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLevelBody)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		err := r.ParseForm()
		return r.PostFormValue("level"), err
	}
	var body levelBody
	err := json.NewDecoder(r.Body).Decode(&body)
	return body.Level, err
}

func fromLoopback(r *http.Request) bool {
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && client.Addr().Unmap().IsLoopback()
}
