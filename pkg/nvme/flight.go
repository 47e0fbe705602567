package nvme

import (
	"context"
	"fmt"
	"sync"
)

// flights runs calls into the kernel that can block for ever, each in a goroutine of its own
// and at most one for each key: whoever asks again waits for the one that runs. The zero value
// is ready (design.md §6 rule 8).
type flights[T any] struct {
	mu    sync.Mutex
	byKey map[string]*flight[T]
}

type flight[T any] struct {
	landed chan struct{}
	value  T
	err    error // value and err are valid once landed is closed
}

// do waits for call until ctx ends. What was begun goes on nevertheless.
func (f *flights[T]) do(ctx context.Context, key string, call func() (T, error)) (T, error) {
	fl := f.start(key, call)
	select {
	case <-fl.landed:
		return fl.value, fl.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%s: the kernel has not answered: %w", key, context.Cause(ctx))
	}
}

func (f *flights[T]) start(key string, call func() (T, error)) *flight[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl, running := f.byKey[key]; running {
		return fl
	}
	if f.byKey == nil {
		f.byKey = map[string]*flight[T]{}
	}
	fl := &flight[T]{landed: make(chan struct{})}
	f.byKey[key] = fl
	go func() {
		fl.value, fl.err = call()
		f.mu.Lock()
		delete(f.byKey, key)
		f.mu.Unlock()
		close(fl.landed)
	}()
	return fl
}

// running tells whether a call for key has not come back yet.
func (f *flights[T]) running(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byKey[key] != nil
}
