package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

const releaseUsage = `rds-csi-plugin release VOLUME lets go of a volume that hangs on this node because the array does not let the
node in any more: it was fenced. What the node has not written yet is lost, on purpose: another node
may have written to the volume since. Run it in the container of the node plugin, which does the work.

  rds-csi-plugin release [flags] VOLUME       VOLUME as in the PersistentVolume's volumeHandle

A volume that is connected is refused: delete the pods that use it instead.

`

// releasePoll is how often the command looks what the node plugin has done; a request holds for 10 seconds
// only, and is made again before that.
const releasePoll, releaseAgain = 100 * time.Millisecond, 3 * time.Second

// release asks the node plugin of this machine to let go of a volume, and waits until it has. The
// request lasts no longer than the command: one that nobody waits for releases nothing later.
func release(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) (err error) {
	f := flag.NewFlagSet("release", flag.ContinueOnError)
	o := &options{}
	f.StringVar(&o.endpoint, "endpoint", "unix:///csi/csi.sock", "unix socket of the node plugin, beside which it keeps its records")
	f.StringVar(&o.pluginDir, "plugin-dir", "", "directory of the node plugin's records (default: that of the endpoint)")
	f.StringVar(&o.arrayName, "array-name", "rds", "name of the array in volume ids without one")
	timeout := f.Duration("timeout", time.Minute, "how long to wait for the node plugin")
	volume, rest := volumeArgument(args)
	if err := parseFlags(f, rest, getenv, stdout, releaseUsage); err != nil {
		return err
	}
	if volume == "" {
		return usageError{errors.New("release: which volume? Give its volumeHandle (release -h tells more)")}
	}
	dir, err := o.stateDir()
	if err != nil {
		return usageError{err}
	}
	records, err := stage.Existing(recordsDir(dir))
	if err != nil {
		return fmt.Errorf("release: no records of a node plugin: %w; give its --plugin-dir or --endpoint", err)
	}
	r, err := recordOf(records, volume, o.arrayName)
	if err != nil {
		return err
	}
	if err := ask(records, r); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.WithdrawRelease(r.VolumeID)) }()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := awaitRelease(ctx, records, r); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "volume %s is released: nothing of it as %s is on this node any more\n", r.VolumeID, r.NQN)
	return err
}

func ask(records *stage.Store, r *stage.Record) error {
	return records.AskRelease(stage.Release{VolumeID: r.VolumeID, NQN: r.NQN, AskedAt: time.Now().UTC()})
}

// volumeArgument takes the volume out of the arguments, before or after the flags.
func volumeArgument(args []string) (volume string, flags []string) {
	for i, arg := range args {
		if arg != "" && arg[0] != '-' && (i == 0 || i == len(args)-1) {
			return arg, append(append([]string{}, args[:i]...), args[i+1:]...)
		}
	}
	return "", args
}

// recordOf finds the record of a volume by its id, in its long or its short form.
func recordOf(records *stage.Store, volume, array string) (*stage.Record, error) {
	for _, id := range []string{volume, array + "/" + volume} {
		r, found, err := records.Load(id)
		if err != nil || found {
			return r, err
		}
	}
	return nil, fmt.Errorf("release: volume %s is not staged on this node", volume)
}

// awaitRelease waits until the record is gone, or the node plugin has taken the request back.
func awaitRelease(ctx context.Context, records *stage.Store, r *stage.Record) error {
	tick, again := time.NewTicker(releasePoll), time.NewTicker(releaseAgain)
	defer tick.Stop()
	defer again.Stop()
	for {
		asked, err := records.ReleaseAsked(r)
		if err != nil {
			return err
		}
		now, found, err := records.Load(r.VolumeID)
		switch {
		case err != nil:
			return err
		case !found || now.NQN != r.NQN:
			return nil
		case !asked:
			return fmt.Errorf("release: volume %s is connected and was left alone: delete the pods that use it, then it is unmounted like any other", r.VolumeID)
		}
		select {
		case <-tick.C:
		case <-again.C:
			if err := ask(records, r); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("release: volume %s is not released (%w); nothing more is tried. Does the node plugin run, and keep its records in %s? Its log says what is in the way",
				r.VolumeID, context.Cause(ctx), filepath.Clean(records.Dir()))
		}
	}
}
