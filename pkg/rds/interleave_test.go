package rds_test

import (
	"context"
	"errors"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

var errDead = errors.New("the controller's process is gone")

// actor is a controller process with one call under way. It sends a command only when the test lets it.
type actor struct {
	console rds.Console
	asks    chan struct{} // it has a command to send
	may     chan bool     // send it; false: the process dies instead
	done    chan struct{}
	err     error
	over    bool // as far as the test has seen
	dead    bool
}

func (a *actor) Run(ctx context.Context, command telemetry.Command, body routeros.Body) (*routeros.Reply, error) {
	if command == telemetry.CommandResource {
		return a.console.Run(ctx, command, body)
	}
	if a.dead {
		return nil, errDead
	}
	a.asks <- struct{}{}
	if !<-a.may {
		a.dead = true
		return nil, errDead
	}
	return a.console.Run(ctx, command, body)
}

// begin starts a call and takes it to its first command.
func begin(ctx context.Context, cfg rds.Config, call func(context.Context, *rds.Array) error) *actor {
	a := &actor{console: cfg.Console, asks: make(chan struct{}), may: make(chan bool), done: make(chan struct{})}
	cfg.Console = a
	array := rds.New(cfg)
	go func() {
		defer close(a.done)
		a.err = call(ctx, array)
	}()
	a.wait()
	return a
}

func (a *actor) wait() {
	select {
	case <-a.asks:
	case <-a.done:
		a.over = true
	}
}

// step lets it send its command, and takes it to the next.
func (a *actor) step(alive bool) {
	if a.over {
		return
	}
	a.may <- alive
	a.wait()
}

// orders are all sequences of length picks among n actors.
func orders(n, length int) [][]int {
	all := [][]int{nil}
	for range length {
		var longer [][]int
		for _, o := range all {
			for i := range n {
				longer = append(longer, append(o[:len(o):len(o)], i))
			}
		}
		all = longer
	}
	return all
}

// interleave runs the calls command by command in the given order, and what is left of them one after
// the other. look sees the array after each.
func interleave(ctx context.Context, order []int, look func(), calls ...*actor) {
	run := func(a *actor) {
		if !a.over {
			a.step(true)
			look()
		}
	}
	for _, i := range order {
		run(calls[i])
	}
	for _, a := range calls {
		for !a.over {
			run(a)
		}
	}
}

func TestOrdersAreAll(t *testing.T) {
	if got := orders(2, 3); len(got) != 8 || got[5][0] != 1 || got[5][1] != 0 || got[5][2] != 1 {
		t.Errorf("%v", got)
	}
}
