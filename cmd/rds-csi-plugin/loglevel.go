package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// newLogger makes the log, and what changes its level.
func newLogger(w io.Writer, level, format string) (*zap.Logger, *telemetry.LogLevel, error) {
	at, err := telemetry.NewLogLevel(level)
	if err != nil {
		return nil, nil, err
	}
	log, err := telemetry.NewLogger(w, at, format)
	return log, at, err
}

// levelSignals are those that step the log level. Without stop they keep coming.
func levelSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	return c, func() { signal.Stop(c) }
}

// watchLevel steps the log level at each signal, until ctx ends.
func (p *process) watchLevel(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			p.level.Toggle(p.log, "SIGUSR1")
		}
	}
}
