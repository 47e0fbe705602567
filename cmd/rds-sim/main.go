// Command rds-sim is a simulated MikroTik storage array: a RouterOS console
// over SSH whose volumes are sparse files below a directory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return
	case errors.As(err, &wrong):
		fmt.Fprintln(os.Stderr, "rds-sim: "+err.Error())
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "rds-sim: "+err.Error())
	os.Exit(1)
}
