package rdssim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxBody bounds a request to the control handler.
const maxBody = 1 << 20

// ControlHandler drives the array over HTTP. It asks for no password: serve it
// on loopback only.
//
//	GET    /state                      State as JSON
//	POST   /faults                     arm a fault: {"kind":"drop_after","match":"/disk add","count":1,"delay":"50ms"}
//	DELETE /faults                     disarm all
//	POST   /reboot?down=2s             reboot
//	POST   /exec                       console text in, its output back
//	GET    /may-connect?nqn=…&host=…   whether that host would be let in
//	DELETE /items/{slot}               remove an item behind the driver's back
//	DELETE /files/{slot}               remove its backing file only
func (a *Array) ControlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, a.State()) })
	mux.HandleFunc("POST /faults", a.postFault)
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		a.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /reboot", a.postReboot)
	mux.HandleFunc("POST /exec", a.postExec)
	mux.HandleFunc("GET /may-connect", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, map[string]bool{"may_connect": a.MayConnect(r.FormValue("nqn"), r.FormValue("host"))})
	})
	mux.HandleFunc("DELETE /items/{slot}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, a.RemoveBehindBack(r.PathValue("slot")))
	})
	mux.HandleFunc("DELETE /files/{slot}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, a.RemoveFile(r.PathValue("slot")))
	})
	return mux
}

func (a *Array) postFault(w http.ResponseWriter, r *http.Request) {
	var f Fault
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&f)
	if err == nil {
		err = a.Inject(f)
	}
	answer(w, err)
}

func (a *Array) postReboot(w http.ResponseWriter, r *http.Request) {
	down, err := time.ParseDuration(orDefault(r.FormValue("down"), "2s"))
	if err == nil && down < 0 {
		err = fmt.Errorf("down=%s is negative", down)
	}
	if err == nil {
		a.Reboot(down)
	}
	answer(w, err)
}

func (a *Array) postExec(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		answer(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// The client may have gone.
	_, _ = io.WriteString(w, a.Run(r.Context(), string(text)))
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	// The client may have gone.
	_ = json.NewEncoder(w).Encode(v)
}
