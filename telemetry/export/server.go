package export

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// A client that is slow or gone must not hold a connection for ever.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 90 * time.Second // a CPU profile takes 30 s by default
	idleTimeout  = 2 * time.Minute
	maxHeader    = 16 << 10

	firstRetry = time.Second
	lastRetry  = time.Minute
)

// server serves HTTP on an address that may be taken for a while: with hostNetwork another
// pod, or our own predecessor, may still hold the port. CSI calls do not depend on it.
type server struct {
	address string
	log     *zap.Logger
	http    *http.Server
	url     atomic.Pointer[string]
	stop    context.CancelFunc
	running sync.WaitGroup
}

func newServer(cfg Config, handler http.Handler) (*server, error) {
	// A line for each client that does not speak TLS, or goes away, is no news.
	quiet, err := zap.NewStdLogAt(cfg.Log, zap.DebugLevel)
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w", err)
	}
	s := &server{
		address: cfg.MetricsAddress,
		log:     cfg.Log,
		stop:    func() {},
		http: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: readTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          quiet,
		},
	}
	if cfg.TLSCert == "" {
		return s, nil
	}
	cert, err := newCertificate(cfg.TLSCert, cfg.TLSKey, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("serve metrics by HTTPS: %w", err)
	}
	s.http.TLSConfig = cert.config()
	return s, nil
}

func (s *server) start(ctx context.Context) {
	ctx, s.stop = context.WithCancel(ctx)
	s.running.Go(func() { s.run(ctx) })
}

// run serves until shutdown. ctx bounds only the attempts to bind.
func (s *server) run(ctx context.Context) {
	for {
		listener := s.bind(ctx)
		if listener == nil {
			return
		}
		url := metricsURL(s.scheme(), listener.Addr())
		s.url.Store(&url)
		s.log.Info("metrics are served", zap.String("url", url))
		err := s.serve(listener)
		s.url.Store(nil)
		if errors.Is(err, http.ErrServerClosed) {
			return
		}
		s.log.Error("metrics are no longer served: binding again", zap.Error(err))
		if !pause(ctx, firstRetry) {
			return
		}
	}
}

func (s *server) serve(listener net.Listener) error {
	if s.http.TLSConfig == nil {
		return s.http.Serve(listener)
	}
	return s.http.ServeTLS(listener, "", "") // no files: TLSConfig has the certificate
}

func (s *server) scheme() string {
	if s.http.TLSConfig == nil {
		return "http"
	}
	return "https"
}

// bind tries until it has the address. It is nil when ctx ends before.
func (s *server) bind(ctx context.Context) net.Listener {
	var config net.ListenConfig
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		listener, err := config.Listen(ctx, "tcp", s.address)
		if err == nil {
			return listener
		}
		if ctx.Err() != nil {
			return nil
		}
		s.log.Error("metrics cannot be served on --metrics-address: trying again",
			zap.String("address", s.address), zap.Duration("retry_in", wait), zap.Error(err))
		if !pause(ctx, wait) {
			return nil
		}
	}
}

// pause tells whether ctx outlasted d.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (s *server) metricsURL() string {
	if url := s.url.Load(); url != nil {
		return *url
	}
	return ""
}

// metricsURL is one that works on this machine: a wildcard address is no destination.
func metricsURL(scheme string, addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/metrics"
}

// shutdown lets scrapes that run end, until ctx ends; then it cuts them, which loses nothing. A connection
// that has never asked for anything keeps net/http waiting for 5 s.
func (s *server) shutdown(ctx context.Context) error {
	s.stop()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	s.running.Wait()
	return err
}
