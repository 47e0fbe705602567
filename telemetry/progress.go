package telemetry

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// Progress is what a call is doing: its steps that have begun and not ended, whether sampled or not.
type Progress struct {
	mu    sync.Mutex
	steps []*openStep
}

type openStep struct {
	name  string
	since time.Time
}

type progressKey struct{}

// WithProgress makes the steps that are begun below the context known to a Progress.
func WithProgress(ctx context.Context) (context.Context, *Progress) {
	p := &Progress{}
	return context.WithValue(ctx, progressKey{}, p), p
}

// Steps names the steps that are under way, the outermost first, and tells how long the last has lasted.
func (p *Progress) Steps() (path string, last time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, s := range p.steps {
		names = append(names, s.name)
		last = time.Since(s.since)
	}
	return strings.Join(names, " > "), last
}

// begin is nil where nobody asks.
func begin(ctx context.Context, name string) (end func()) {
	p, _ := ctx.Value(progressKey{}).(*Progress)
	if p == nil {
		return nil
	}
	s := &openStep{name: name, since: time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps = append(p.steps, s)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.steps = slices.DeleteFunc(p.steps, func(other *openStep) bool { return other == s })
	}
}
