package export

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	reportInterval = time.Minute
	maxClasses     = 32
	maxReportLen   = 512
)

// reporter is where OpenTelemetry's own errors go: each is counted, and of each class one
// a minute is logged. An unreachable collector makes an error for each batch.
type reporter struct {
	log *zap.Logger

	mu      sync.Mutex
	count   func(context.Context)
	classes map[string]*class
}

// class is what errors have in common that say the same thing.
type class struct {
	logged     time.Time
	suppressed int
}

func newReporter(log *zap.Logger) *reporter {
	return &reporter{log: log, count: func(context.Context) {}, classes: map[string]*class{}}
}

// countWith makes count be called for each error from now on.
func (r *reporter) countWith(count func(context.Context)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count = count
}

// Handle implements otel.ErrorHandler. Only Shutdown cancels, and tells itself what was lost.
func (r *reporter) Handle(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	text := redact(err.Error())
	count, suppressed, due := r.note(classOf(text))
	count(context.Background())
	if due {
		r.log.Warn("telemetry error", zap.String("error", cut(text, maxReportLen)), zap.Int("suppressed", suppressed))
	}
}

// note tells whether a line is due, and how many were left out since the last.
func (r *reporter) note(name string) (count func(context.Context), suppressed int, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, known := r.classes[name]
	if !known && len(r.classes) >= maxClasses {
		name = "" // whatever differs each time shares one class
		c, known = r.classes[name]
	}
	if !known {
		c = &class{}
		r.classes[name] = c
	}
	now := time.Now()
	if known && now.Sub(c.logged) < reportInterval {
		c.suppressed++
		return r.count, 0, false
	}
	suppressed, c.suppressed, c.logged = c.suppressed, 0, now
	return r.count, suppressed, true
}

// redact cuts the value out of a complaint about a setting: the OTLP log exporters quote it,
// OTEL_EXPORTER_OTLP_HEADERS with its tokens as well (otlploggrpc and otlploghttp v0.23.0, getEnv).
func redact(text string) string {
	if setting, _, ok := strings.Cut(text, " value "); ok && strings.HasPrefix(text, "invalid OTEL_") {
		return setting + ": its value is wrong"
	}
	return text
}

// classOf is the text up to the first colon: "traces export" of "traces export: Post …".
func classOf(text string) string {
	name, _, _ := strings.Cut(text, ": ")
	return cut(name, 64)
}

func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
