package main

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func TestSIGUSR1StepsTheLogLevel(t *testing.T) {
	level, err := telemetry.NewLogLevel("warn")
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.DebugLevel)
	p := &process{log: zap.New(core), level: level}
	signals, stop := levelSignals()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.watchLevel(ctx, signals) }()
	defer func() { cancel(); <-done; stop() }()

	for i, want := range []string{"debug", "warn", "debug"} {
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); logs.Len() <= i; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("signal %d changed nothing", i)
			}
		}
		if line := logs.All()[i]; line.Message != "the log level is now "+want || line.ContextMap()["by"] != "SIGUSR1" {
			t.Errorf("signal %d: %q %v, want level %s", i, line.Message, line.ContextMap(), want)
		}
	}
}
