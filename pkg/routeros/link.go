package routeros

import (
	"cmp"
	"errors"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"
)

// link is one SSH connection to the array.
type link struct {
	client  *ssh.Client
	address string
	tasks   *tasks
	log     *zap.Logger
	born    time.Time
	once    sync.Once
	dead    chan struct{} // closed by drop
	cause   error         // why; set before dead is closed
}

func newLink(client *ssh.Client, address string, tasks *tasks, log *zap.Logger) *link {
	l := &link{client: client, address: address, tasks: tasks, log: log, born: time.Now(), dead: make(chan struct{})}
	if !tasks.start(l.watch) {
		l.drop(errClosed)
	}
	return l
}

// watch finds out that the peer is gone while nobody talks to it.
func (l *link) watch() { l.drop(cmp.Or(l.client.Wait(), io.EOF)) }

func (l *link) alive() bool {
	select {
	case <-l.dead:
		return false
	default:
		return true
	}
}

// drop closes the connection; whoever talks over it gets an error. The first cause counts.
func (l *link) drop(cause error) {
	l.once.Do(func() {
		l.cause = cause
		close(l.dead)
		_ = l.client.Close()
		if !errors.Is(cause, errClosed) {
			l.log.Warn("the connection to the array is gone", zap.String("address", l.address), zap.Error(cause))
		}
	})
}
