package rds

import (
	"cmp"
	"context"
	"strings"
	"sync/atomic"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Console runs one command on the array. *routeros.Client is one.
type Console interface {
	Run(ctx context.Context, command telemetry.Command, body routeros.Body) (*routeros.Reply, error)
}

// Config says which array and how to use it.
type Config struct {
	Console Console
	Cluster string // cluster id: part of slots and of the mark on every item
	Pool    string // mount point of the pool that volumes go to by default
	Port    int    // NVMe/TCP port of the exports
	HostACL bool   // restrict every export to the nodes that hold it
	// Settle is how long a volume is left alone after a change whose end was not seen; default 10 s.
	Settle time.Duration
}

// Array is one storage array.
type Array struct {
	console   Console
	cluster   string
	mark      string // how the comment of every volume of the cluster begins
	pool      string
	port      int
	hostACL   bool
	version   atomic.Pointer[Resource]
	pools     *turns
	unsettled *unsettled
}

const defaultSettle = 10 * time.Second

// New makes an Array. It does not talk to the array yet.
func New(cfg Config) *Array {
	return &Array{
		console:   cfg.Console,
		cluster:   cfg.Cluster,
		mark:      markOf(cfg.Cluster),
		pool:      strings.Trim(cfg.Pool, "/"),
		port:      cfg.Port,
		hostACL:   cfg.HostACL,
		pools:     newTurns(),
		unsettled: newUnsettled(cmp.Or(cfg.Settle, defaultSettle)),
	}
}

// simulatedBoard is the board name by which the simulated array makes itself known.
const simulatedBoard = "rds-sim"

// Resource is what the array says of itself.
type Resource struct {
	Version string // such as "7.24.4 (stable)"
	Board   string
}

// Simulated tells that this is no real array but the simulator.
func (r Resource) Simulated() bool { return r.Board == simulatedBoard }

// Look asks the array for its version, and fails where the driver cannot work with it.
func (a *Array) Look(ctx context.Context) (Resource, error) {
	const op = "ask the array for its version"
	reply, err := a.console.Run(ctx, telemetry.CommandResource, lookScript)
	r := a.note(reply)
	switch {
	case err != nil:
		return Resource{}, fault.Wrap(op, err)
	case r == nil:
		return Resource{}, fault.Errorf(op, fault.Precondition, "it does not tell; the user's group on the array needs the policies read and test")
	default:
		return *r, fault.Wrap(op, supported(r.Version))
	}
}

// note remembers the version that came with a reply.
func (a *Array) note(reply *routeros.Reply) *Resource {
	if reply == nil || reply.Version == "" {
		return nil
	}
	r := &Resource{Version: reply.Version, Board: reply.Board}
	a.version.Store(r)
	return r
}

// run is one exec on an array that the driver can work with. An array whose version is not
// known yet, or was too old when last seen, is asked first: a command that it does not
// understand in full must not run in part.
func (a *Array) run(ctx context.Context, command telemetry.Command, body routeros.Body) (*routeros.Reply, error) {
	if r := a.version.Load(); r == nil || supported(r.Version) != nil {
		if _, err := a.Look(ctx); err != nil {
			return nil, err
		}
	}
	reply, err := a.console.Run(ctx, command, body)
	a.note(reply)
	return reply, explain(err)
}

// change is run for what changes a volume. One whose last change has no known end is left alone.
func (a *Array) change(ctx context.Context, command telemetry.Command, slot string, body routeros.Body) (*routeros.Reply, error) {
	if err := a.unsettled.check(slot); err != nil {
		return nil, err
	}
	reply, err := a.run(ctx, command, body)
	a.unsettled.note(slot, err)
	return reply, err
}

// explain turns what the scripts raise themselves into errors of the right kind.
func explain(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	switch {
	case strings.Contains(text, errOtherCluster):
		return fault.Errorf("", fault.Precondition, "%s; its comment names the cluster id it was made with (--cluster-id)", errOtherCluster)
	case strings.Contains(text, errNotOurs):
		return fault.Errorf("", fault.Precondition, "%s; only a disk whose comment begins with %q is changed", errNotOurs, mark)
	case strings.Contains(text, errEdited):
		return fault.Errorf("", fault.Precondition, "%s: somebody has edited it; let it begin with %q and the cluster id again", errEdited, mark)
	case strings.Contains(text, errFileUsed):
		return fault.Errorf("", fault.Precondition, "%s: look for it with /disk print detail where type=file", errFileUsed)
	case strings.Contains(text, errFileGone):
		return fault.Errorf("", fault.Precondition, "%s: restore the file, or delete the volume", errFileGone)
	case strings.Contains(text, errLeftover):
		return fault.Errorf("", fault.Precondition, "%s; it is neither taken over nor deleted: look at it, then delete the file or add the disk by hand", errLeftover)
	default:
		return err
	}
}
