package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

const demoUsage = `rds-csi-plugin demo shows a volume's whole life through the CSI interface: created on a simulated array,
published, staged, written to, measured, grown and deleted, with metrics and a trace of each call.
It runs on loopback, and takes away all it has made.

`

type demoOptions struct {
	keep, asJSON             bool
	dataPath, metricsAddress string
	logLevel                 string
	latency                  time.Duration
}

func parseDemo(args []string, getenv func(string) string, stdout io.Writer) (*demoOptions, error) {
	o := &demoOptions{}
	f := flag.NewFlagSet("rds-csi-plugin demo", flag.ContinueOnError)
	f.BoolVar(&o.keep, "keep", false, "stay up at the end, for /metrics, until Ctrl-C")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON document instead of text")
	f.StringVar(&o.dataPath, "data-path", pathAuto, "auto, nvme, loop or none: how the volume reaches this machine")
	f.StringVar(&o.metricsAddress, "metrics-address", ":9809", "host:port of /metrics, /livez and /readyz; empty turns them off")
	f.StringVar(&o.logLevel, "log-level", "error", "debug, info, warn or error: the driver's log on stderr")
	f.DurationVar(&o.latency, "array-latency", 0, "how long the simulated array takes for a command, such as 20ms")
	if err := parseFlags(f, args, getenv, stdout, demoUsage); err != nil {
		return nil, err
	}
	if o.latency < 0 {
		return nil, usageError{fmt.Errorf("--array-latency %s: use 0 or more", o.latency)}
	}
	return o, nil
}

// demo runs the whole life once. The exit is a failure if any step was not OK, or anything was left behind.
func demo(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	o, err := parseDemo(args, getenv, stdout)
	if err != nil {
		return err
	}
	path, err := chooseDataPath(ctx, o.dataPath)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "rds-csi-demo-")
	if err != nil {
		return err
	}
	report := newReport(o, path, stdout)
	world, err := newWorld(ctx, o, path, dir, stderr)
	if err != nil {
		return report.finish(errors.Join(err, removeDemoDir(dir)))
	}
	report.begin(world)
	err = newLife(world, path, report).live(ctx)
	report.trace(ctx, world)
	if o.keep && ctx.Err() == nil {
		report.stay()
		<-ctx.Done()
	}
	return report.finish(errors.Join(err, world.close(), removeDemoDir(dir)))
}

// removeDemoDir removes the demo's directory, but never what is still mounted below it: RemoveAll
// would delete the volume's contents.
func removeDemoDir(dir string) error {
	left, err := mountsBelow(dir)
	if err != nil {
		return fmt.Errorf("%s is left behind: %w", dir, err)
	}
	if len(left) > 0 {
		return fmt.Errorf("%s is left behind, since these are still mounted: %v", dir, left)
	}
	return os.RemoveAll(dir)
}
