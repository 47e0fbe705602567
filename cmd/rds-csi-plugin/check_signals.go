package main

import (
	"context"
	"os/signal"
	"syscall"
)

// untilHangup keeps check alive until it has cleaned up. A lost login (SIGHUP) interrupts it as Ctrl-C does, except
// under nohup. A reader that has gone (SIGPIPE, as after `| grep -m1`) ends nothing: what is written is lost, and
// the rest is done. Without this, either would end the program on the spot, and leave the scratch volume.
func untilHangup(ctx context.Context) (context.Context, context.CancelFunc) {
	signal.Ignore(syscall.SIGPIPE)
	if signal.Ignored(syscall.SIGHUP) {
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}
