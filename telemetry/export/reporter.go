package export

import (
	"cmp"
	"context"
	"errors"
	"slices"
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
// a minute is logged. An unreachable collector makes an error for each batch of each signal: these are one
// class together, whose line names the signals.
type reporter struct {
	log *zap.Logger

	mu      sync.Mutex
	count   func(context.Context)
	classes map[string]*class
}

// class is what errors have in common that say the same thing.
type class struct {
	logged     time.Time
	waits      bool // there was nothing but consequences yet
	suppressed int
	text       string          // of the last error that was no mere consequence of others
	signals    map[signal]bool // that failed to be exported since the last line
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
	name := classOf(text)
	export, failed := errors.AsType[exportError](err)
	if failed {
		name = exportClass
	}
	count, line := r.note(name, text, export)
	count(context.Background())
	if line == nil {
		return
	}
	fields := []zap.Field{zap.String("error", cut(line.text, maxReportLen)), zap.Int("suppressed", line.suppressed)}
	if len(line.signals) > 0 {
		fields = append(fields, zap.Strings("signals", namesOf(line.signals)))
	}
	r.log.Warn("telemetry error", fields...)
}

// note gives what a line is to say of the class, or nil while none is due. A mere consequence waits for a
// minute for its cause.
func (r *reporter) note(name, text string, export exportError) (count func(context.Context), line *class) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, known := r.classes[name]
	if !known && len(r.classes) >= maxClasses {
		name = "" // whatever differs each time shares one class
		c, known = r.classes[name]
	}
	now := time.Now()
	if !known {
		c = &class{signals: map[signal]bool{}}
		r.classes[name] = c
	}
	switch {
	case !known && export.follows:
		c.logged, c.waits = now, true
	case c.waits && !export.follows: // here is the cause
		c.logged, c.waits = time.Time{}, false
	}
	if export.signal != "" {
		c.signals[export.signal] = true
	}
	if !export.follows {
		c.text = text
	}
	if now.Sub(c.logged) < reportInterval {
		c.suppressed++
		return r.count, nil
	}
	c.text = cmp.Or(c.text, text)
	r.classes[name] = &class{logged: now, signals: map[signal]bool{}}
	return r.count, c
}

func namesOf(signals map[signal]bool) []string {
	var names []string
	for s := range signals {
		names = append(names, s.String())
	}
	slices.Sort(names)
	return names
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
