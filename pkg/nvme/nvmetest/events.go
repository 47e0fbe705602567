package nvmetest

import "git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"

// watcher is one subscription to kernel events.
type watcher struct {
	k    *Kernel
	wake chan struct{}
}

func (k *Kernel) watch() (nvme.Wakeups, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := &watcher{k: k, wake: make(chan struct{}, 1)}
	k.watchers[w] = true
	return w, nil
}

func (w *watcher) Wake() <-chan struct{} { return w.wake }

func (w *watcher) Close() error {
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	delete(w.k.watchers, w)
	return nil
}

// Watchers is how many subscriptions are open.
func (k *Kernel) Watchers() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.watchers)
}

func (k *Kernel) ring() {
	for w := range k.watchers {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}
