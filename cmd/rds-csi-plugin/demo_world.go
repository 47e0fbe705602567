package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry/export"
)

const (
	demoPool    = "storage-pool"
	demoVersion = "7.24.4"
)

// world is a simulated array, the driver, and a connection to it as Kubernetes would have one.
type world struct {
	dir       string
	array     *rdssim.Array
	process   *process
	collector *export.Collector
	conn      *grpc.ClientConn
	stop      context.CancelFunc
	stopped   chan error // nil until the driver runs
}

// newWorld starts everything. The driver does not end with ctx: what was begun is taken down through it.
func newWorld(ctx context.Context, o *demoOptions, path dataPath, dir string, stderr io.Writer) (w *world, err error) {
	w = &world{dir: dir, collector: export.NewCollector(), stop: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	log, level, err := newLogger(stderr, o.logLevel, "console")
	if err != nil {
		return w, usageError{err}
	}
	exporter := "none"
	if path.name == pathNVMe {
		exporter = "nvmet"
	}
	ctx = context.WithoutCancel(ctx)
	w.array, err = rdssim.Start(ctx, rdssim.Options{
		Dir: filepath.Join(dir, "array"), Export: exporter, Version: demoVersion, Latency: o.latency, Logger: log.Named("array"),
		Pools: []rdssim.Pool{{Name: demoPool, FS: "btrfs", Size: 100 << 30}},
	})
	if err != nil {
		return w, fmt.Errorf("start the simulated array: %w", err)
	}
	driverOptions, err := w.options(o, path)
	if err != nil {
		return w, err
	}
	if w.process, err = newProcess(ctx, driverOptions, nil, log.Named("driver"), level, w.collector); err != nil {
		return w, err
	}
	if w.conn, err = grpc.NewClient(driverOptions.endpoint, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return w, err
	}
	listener, err := listen(driverOptions.endpoint)
	if err != nil {
		return w, errors.Join(err, w.process.close(ctx))
	}
	running, stop := context.WithCancel(ctx)
	w.stop, w.stopped = stop, make(chan error, 1)
	go func() { w.stopped <- w.process.run(running, listener) }()
	return w, nil
}

// options are the flags of a driver that uses the simulated array.
func (w *world) options(o *demoOptions, path dataPath) (*options, error) {
	args := append([]string{
		"--controller", "--endpoint=unix://" + filepath.Join(w.dir, "csi.sock"), "--cluster-id=demo", "--node-id=demo-node",
		"--metrics-address=" + o.metricsAddress,
	}, w.array.DriverFlags()...)
	if path.name != pathNone {
		args = append(args, "--node")
	}
	if path.name == pathLoop {
		args = append(args, "--dev-loop-dir="+filepath.Join(w.dir, "array"))
	}
	noEnvironment := func(string) string { return "" }
	driverOptions, err := parse(args, noEnvironment, io.Discard)
	if err != nil {
		return nil, err
	}
	return driverOptions, driverOptions.check()
}

// close stops the driver, then the array. It may be called on a half-made world.
func (w *world) close() error {
	var errs []error
	if w.conn != nil {
		errs = append(errs, w.conn.Close())
	}
	w.stop()
	if w.stopped != nil {
		errs = append(errs, <-w.stopped)
	}
	if w.array != nil {
		errs = append(errs, w.array.Close())
	}
	return errors.Join(errs...)
}
