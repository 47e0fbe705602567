package routeros

import "sync"

// tasks are the goroutines of a Client. They end with it.
type tasks struct {
	mu      sync.Mutex
	stopped bool
	group   sync.WaitGroup
}

// start runs f, unless the tasks were stopped.
func (t *tasks) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return false
	}
	t.group.Go(f)
	return true
}

// stop lets no new task start.
func (t *tasks) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
}

func (t *tasks) wait() { t.group.Wait() }
