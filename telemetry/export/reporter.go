package export

import (
	"cmp"
	"context"
	"errors"
	"maps"
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
	// texts are, by signal, of the last error since the last line; "" where there were mere consequences of others.
	texts map[signal]string
}

// said is what the errors of the class say, each text once.
func (c *class) said() string {
	var texts []string
	for _, s := range slices.Sorted(maps.Keys(c.texts)) {
		if text := c.texts[s]; text != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, "; ")
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
	fields := []zap.Field{zap.String("error", cut(cmp.Or(line.said(), text), maxReportLen)), zap.Int("suppressed", line.suppressed)}
	if names := line.signals(); len(names) > 0 {
		fields = append(fields, zap.Strings("signals", names))
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
		c = &class{texts: map[signal]string{}}
		r.classes[name] = c
	}
	switch {
	case !known && export.follows:
		c.logged, c.waits = now, true
	case c.waits && !export.follows: // here is the cause
		c.logged, c.waits = time.Time{}, false
	}
	if export.follows {
		text = c.texts[export.signal]
	}
	c.texts[export.signal] = text
	if now.Sub(c.logged) < reportInterval {
		c.suppressed++
		return r.count, nil
	}
	r.classes[name] = &class{logged: now, texts: map[signal]string{}}
	return r.count, c
}

// signals names those that could not be exported since the last line.
func (c *class) signals() []string {
	var names []string
	for s := range c.texts {
		if s != "" {
			names = append(names, s.String())
		}
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
