package export

import "context"

// lifeline ends exports that still run. The batch processors hand them a time-out of their own
// only: after a Shutdown that ran out of time they would go on for 30 s each.
type lifeline struct {
	life  context.Context
	abort context.CancelFunc
}

func newLifeline() lifeline {
	life, abort := context.WithCancel(context.Background())
	return lifeline{life: life, abort: abort}
}

// do exports until ctx ends or abort is called. After that it reports no errors: Shutdown has
// told of the loss, and the log may be closed.
func (l lifeline) do(ctx context.Context, export func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(l.life, cancel)
	defer stop()
	err := export(ctx)
	if l.life.Err() != nil {
		return nil
	}
	return err
}
