package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// stopTimeout bounds the wait for control requests at the end.
const stopTimeout = 5 * time.Second

// run serves the array until the context ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, stdout)
	if err != nil {
		return err
	}
	s.array.Logger = newLogger(stderr)
	// The array ends in Close, after the control interface: not with the signal.
	array, err := rdssim.Start(context.WithoutCancel(ctx), s.array)
	if err != nil {
		return err
	}
	err = serve(ctx, array, s.control, stdout)
	return errors.Join(err, array.Close())
}

func newLogger(w io.Writer) *zap.Logger {
	config := zap.NewDevelopmentEncoderConfig()
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(config), zapcore.Lock(zapcore.AddSync(w)), zap.InfoLevel))
}

// serve prints where things are and answers control requests.
func serve(ctx context.Context, array *rdssim.Array, control string, stdout io.Writer) error {
	fmt.Fprintf(stdout, "ssh console: %s\nhost key:    %s\n", array.SSHAddr(), array.HostKeyFingerprint())
	if control == "" {
		announce(array, stdout)
		<-ctx.Done()
		return nil
	}
	listener, err := net.Listen("tcp", control)
	if err != nil {
		return fmt.Errorf("control interface: %w", err)
	}
	fmt.Fprintf(stdout, "control:     http://%s/state\n", listener.Addr())
	announce(array, stdout)
	server := &http.Server{Handler: array.ControlHandler(), ReadHeaderTimeout: stopTimeout}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("control interface: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err = server.Shutdown(stopping)
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// announce prints the command line of a driver that would use the array.
func announce(array *rdssim.Array, stdout io.Writer) {
	fmt.Fprintf(stdout, "driver:      rds-csi-plugin --controller %s\n", strings.Join(array.DriverFlags(), " "))
}
