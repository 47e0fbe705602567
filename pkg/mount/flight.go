package mount

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// errHangs says that a call into the kernel has not come back in time.
var errHangs = errors.New("the kernel has not answered yet")

// flights lets callers leave a call that hangs in the kernel, and keeps the number of such calls
// at one per key (design.md §6 rule 8). The zero value is ready.
type flights struct {
	mu     sync.Mutex
	flying map[string]chan struct{}
}

// do runs call, after an earlier call with the same key has come back. When ctx ends first it
// returns an error that wraps errHangs and ctx.Err(); call then goes on alone.
func (f *flights) do(ctx context.Context, key string, call func() error) error {
	done, err := f.takeOff(ctx, key)
	if err != nil {
		return err
	}
	result := make(chan error, 1)
	go func() {
		err := call()
		f.land(key, done)
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return hangs(ctx)
	}
}

func (f *flights) takeOff(ctx context.Context, key string) (chan struct{}, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		mine := make(chan struct{})
		other := f.claim(key, mine)
		if other == nil {
			return mine, nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, hangs(ctx)
		}
	}
}

// over waits until nothing flies under key.
func (f *flights) over(ctx context.Context, key string) error {
	for {
		f.mu.Lock()
		other := f.flying[key]
		f.mu.Unlock()
		if other == nil {
			return nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return hangs(ctx)
		}
	}
}

// running tells whether a call flies under key.
func (f *flights) running(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flying[key] != nil
}

// claim registers mine under key, or gives the channel of the call that is there.
func (f *flights) claim(key string, mine chan struct{}) (other chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other := f.flying[key]; other != nil {
		return other
	}
	if f.flying == nil {
		f.flying = map[string]chan struct{}{}
	}
	f.flying[key] = mine
	return nil
}

func (f *flights) land(key string, mine chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.flying, key)
	close(mine)
}

func hangs(ctx context.Context) error { return fmt.Errorf("%w: %w", errHangs, ctx.Err()) }
