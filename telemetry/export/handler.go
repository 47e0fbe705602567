package export

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

const (
	scrapeTimeout = 10 * time.Second
	scrapesAtOnce = 3
)

func newHandler(cfg Config, log *zap.Logger, gatherer prometheus.Gatherer, reporter *reporter) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		EnableOpenMetrics:   true, // exemplars are in no other text format
		ErrorHandling:       promhttp.ContinueOnError,
		ErrorLog:            printReporter{reporter},
		MaxRequestsInFlight: scrapesAtOnce,
		CoalesceGather:      true,
		Timeout:             scrapeTimeout,
	}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, true, "") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if cfg.Ready == nil {
			answer(w, true, "")
			return
		}
		ok, why := cfg.Ready()
		answer(w, ok, why)
	})
	if cfg.LogLevel != nil {
		mux.Handle("/loglevel", logLevelHandler(cfg.LogLevel, log))
	}
	if cfg.Pprof {
		addPprof(mux)
	}
	return mux
}

// answer says "ok", or with 503 why not.
func answer(w http.ResponseWriter, ok bool, why string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if ok {
		fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(w, why)
}

func addPprof(mux *http.ServeMux) {
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
}

// printReporter is the reporter as promhttp wants it.
type printReporter struct {
	reporter *reporter
}

// Println implements promhttp.Logger.
func (p printReporter) Println(v ...any) {
	p.reporter.Handle(errors.New(strings.TrimSpace(fmt.Sprintln(v...))))
}
