// Command rds-image puts the driver's container image together where no container engine runs: as an OCI
// archive, or as the root file system that the Dockerfile copies. Both have the same content. It takes apt
// with the sources of Debian 12, and Go; nothing is installed, and root is not needed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

type options struct {
	arch, archive, root, tag   string
	version, revision, created string
	cache, source              string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "rds-image:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("rds-image", flag.ContinueOnError)
	f.StringVar(&o.arch, "arch", "amd64", "amd64 or arm64")
	f.StringVar(&o.archive, "archive", "", "write an OCI archive to this file")
	f.StringVar(&o.root, "root", "", "write the root file system to this directory, which must not be there yet")
	f.StringVar(&o.tag, "tag", "localhost/rds-csi-driver:dev", "the archive's name in a container engine")
	f.StringVar(&o.version, "version", "dev", "version of the driver")
	f.StringVar(&o.revision, "revision", "", "commit that it is built from")
	f.StringVar(&o.created, "created", "1970-01-01T00:00:00Z", "time of the image, RFC 3339; fixed, so that the same content has the same digest")
	f.StringVar(&o.cache, "cache", "", "directory for Debian's packages; what is there is not downloaded again (default: rds-csi-driver/image in the user's cache)")
	f.StringVar(&o.source, "source", ".", "the driver's module")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	return o, o.check(f.Args())
}

func (o *options) check(rest []string) error {
	_, err := time.Parse(time.RFC3339, o.created)
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q is no flag (-h lists them)", rest[0])
	case !slices.Contains([]string{"amd64", "arm64"}, o.arch):
		return fmt.Errorf("--arch %q: use amd64 or arm64", o.arch)
	case o.archive == "" && o.root == "":
		return errors.New("nothing to write: give --archive FILE or --root DIRECTORY")
	case err != nil:
		return fmt.Errorf("--created %q: use a time such as 2026-11-26T18:00:00Z", o.created)
	case o.cache == "":
		o.cache, err = defaultCache()
	}
	return err
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	root, err := o.assemble(ctx)
	if err != nil {
		return err
	}
	if o.root != "" {
		if err := root.write(o.root); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s: the root file system for linux/%s\n", o.root, o.arch)
	}
	if o.archive == "" {
		return nil
	}
	digest, err := o.writeArchive(root)
	if err == nil {
		fmt.Fprintf(stdout, "%s: %s for linux/%s, %s\n", o.archive, o.tag, o.arch, digest)
	}
	return err
}

// assemble gives the image's root file system.
func (o *options) assemble(ctx context.Context) (tree, error) {
	debs, err := download(ctx, o.cache, o.arch)
	if err != nil {
		return nil, err
	}
	debian, err := unpack(ctx, debs)
	if err != nil {
		return nil, err
	}
	root, err := pick(debian, o.arch)
	if err != nil {
		return nil, err
	}
	binary, err := o.buildDriver(ctx)
	if err != nil {
		return nil, err
	}
	root.file(driverPath, 0o755, binary)
	return root, nil
}
