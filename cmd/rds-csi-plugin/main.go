// Command rds-csi-plugin is the CSI driver for volumes on a MikroTik storage server: the
// controller, the node, or both in one process, and a demo that needs neither array nor cluster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(start(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func start(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	err := dispatch(ctx, args, getenv, stdout, stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case isUsage(err):
		fmt.Fprintln(stderr, "rds-csi-plugin:", err)
		return exitUsage
	default:
		fmt.Fprintln(stderr, "rds-csi-plugin:", err)
		return exitFailed
	}
}

func isUsage(err error) bool {
	_, ok := errors.AsType[usageError](err)
	return ok
}

func dispatch(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "demo":
			return demo(ctx, args[1:], getenv, stdout, stderr)
		case "release":
			return release(ctx, args[1:], getenv, stdout)
		}
	}
	o, err := parse(args, getenv, stdout)
	if err != nil {
		return err
	}
	if o.version {
		_, err := fmt.Fprintln(stdout, buildVersion())
		return err
	}
	if err := o.check(); err != nil {
		return usageError{err}
	}
	return serve(ctx, o, stderr)
}

func parse(args []string, getenv func(string) string, stdout io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("rds-csi-plugin", flag.ContinueOnError)
	o.define(f)
	if err := parseFlags(f, args, getenv, stdout, usageText); err != nil {
		return nil, err
	}
	o.systemBus, o.inPod = getenv("DBUS_SYSTEM_BUS_ADDRESS"), getenv("KUBERNETES_SERVICE_HOST") != ""
	return o, nil
}

const usageText = `rds-csi-plugin serves CSI for volumes on a MikroTik storage server (RouterOS 7.21 or newer).

  rds-csi-plugin --controller --rds-address ADDRESS ...
  rds-csi-plugin --node --node-id NAME ...
  rds-csi-plugin demo          a volume's whole life on a simulated array; demo -h tells more
  rds-csi-plugin release ...   let go of a volume that hangs because it was taken from this node; release -h tells more

Every flag can also be given as an environment variable: --rds-address is RDS_CSI_RDS_ADDRESS.

`

// parseFlags reads flags, then the environment. A mistake gives one sentence, -h the whole text.
func parseFlags(f *flag.FlagSet, args []string, getenv func(string) string, stdout io.Writer, usage string) error {
	f.SetOutput(io.Discard)
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		f.SetOutput(stdout)
		fmt.Fprint(stdout, usage)
		f.PrintDefaults()
		return err
	case err != nil:
		return usageError{fmt.Errorf("%w (-h lists the flags)", err)}
	case f.NArg() > 0:
		return usageError{fmt.Errorf("%q is no flag and no command (-h lists the flags)", f.Arg(0))}
	}
	if err := fromEnvironment(f, getenv); err != nil {
		return usageError{err}
	}
	return nil
}
