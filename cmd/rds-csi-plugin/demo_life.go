package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	demoSize   = 512 << 20
	demoGrown  = 768 << 20
	cleanGrace = time.Minute
	cleanRetry = 100 * time.Millisecond
)

// life acts as Kubernetes does, step after step, and remembers how to take each step back.
type life struct {
	controller csi.ControllerClient
	nodes      csi.NodeClient
	path       dataPath
	report     *report
	dir        string
	volume     *csi.Volume
	publish    map[string]string
	nodeID     string
	undo       []func(context.Context) error
	sum        string
}

func newLife(w *world, path dataPath, r *report) *life {
	var conn grpc.ClientConnInterface = w.conn
	return &life{controller: csi.NewControllerClient(conn), nodes: csi.NewNodeClient(conn), path: path, report: r, dir: w.dir}
}

type step struct {
	rpc string
	run func(context.Context) (note string, err error)
}

// live runs the steps until one fails or ctx ends; then it takes back what is still there.
func (l *life) live(ctx context.Context) error {
	steps := l.controllerSteps()
	if l.path.name != pathNone {
		steps = l.wholeSteps()
	}
	for _, s := range steps {
		if err := l.report.step(ctx, s); err != nil {
			return errors.Join(err, l.cleanUp(ctx))
		}
	}
	return nil
}

func (l *life) controllerSteps() []step {
	return []step{
		{"CreateVolume", l.create}, {"ListVolumes", l.list}, {"ControllerPublishVolume", l.attachNowhere},
		{"ControllerExpandVolume", l.expand}, {"ControllerUnpublishVolume", l.detach}, {"DeleteVolume", l.remove},
	}
}

func (l *life) wholeSteps() []step {
	steps := []step{
		{"NodeGetInfo", l.info}, {"CreateVolume", l.create}, {"ControllerPublishVolume", l.attach}, {"NodeStageVolume", l.stage},
		{"NodePublishVolume", l.mount}, {"(write)", l.write}, {"NodeGetVolumeStats", l.measure},
	}
	if l.path.online {
		steps = append(steps, step{"ControllerExpandVolume", l.expand}, step{"NodeExpandVolume", l.grow})
	} else {
		steps = append(steps, step{"NodeUnpublishVolume", l.unmount}, step{"NodeUnstageVolume", l.unstage},
			step{"ControllerExpandVolume", l.expand}, step{"NodeStageVolume", l.stage}, step{"NodePublishVolume", l.mount})
	}
	return append(steps, step{"NodeGetVolumeStats", l.measure}, step{"(read)", l.read}, step{"NodeUnpublishVolume", l.unmount},
		step{"NodeUnstageVolume", l.unstage}, step{"ControllerUnpublishVolume", l.detach}, step{"DeleteVolume", l.remove})
}

// cleanUp takes back in reverse order what the steps have left, also after Ctrl-C.
func (l *life) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanGrace)
	defer cancel()
	for len(l.undo) > 0 {
		last := l.undo[len(l.undo)-1]
		if err := untilDone(ctx, last); err != nil {
			return fmt.Errorf("clean up: %w", err)
		}
	}
	return nil
}

// untilDone repeats a call as Kubernetes does, while its code says that this makes sense: an
// interrupted call may still be under way in the driver.
func untilDone(ctx context.Context, call func(context.Context) error) error {
	for {
		err := call(ctx)
		switch status.Code(err) {
		case codes.Aborted, codes.Unavailable:
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(cleanRetry):
		}
	}
}

// begun notes how to take a step back. It is called before the step, since a step that failed may have been done.
func (l *life) begun(back func(context.Context) (string, error)) {
	l.undo = append(l.undo, func(ctx context.Context) error {
		_, err := back(ctx)
		return err
	})
}

// undone forgets the latest step: it has been taken back.
func (l *life) undone(err error) error {
	if err == nil && len(l.undo) > 0 {
		l.undo = l.undo[:len(l.undo)-1]
	}
	return err
}

func (l *life) staging() string { return filepath.Join(l.dir, "globalmount") }
func (l *life) target() string  { return filepath.Join(l.dir, "pod", "mount") }
