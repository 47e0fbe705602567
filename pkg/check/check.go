package check

import (
	"context"
	"io"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Config says what to look at.
type Config struct {
	Array     *rds.Array // nil: not looked at, Missing says why
	Missing   string
	SSH       string   // host:port of the array's console
	User      string   // on the array
	Insecure  bool     // the host key is not verified
	Pool      string   // "" where none is configured
	HostACL   bool     // --rds-host-acl is on
	Addresses []string // host:port for NVMe/TCP

	Kubelet string // kubelet's directory
	Machine Machine
	Dial    func(ctx context.Context, address string) error

	// Trial is set for --write.
	Trial *Trial
	// Version is the driver's, for the report.
	Version string
	// Secrets are texts that a report must not have, with what stands in their place.
	Secrets map[string]string
}

// Trial is what a scratch volume is tried with.
type Trial struct {
	Nonce    string // hex digits that name the volume
	Sessions Sessions
	NoHost   string // why this machine connects to nothing; "" where Sessions is set
	Portals  []nvme.Portal

	// Settle is how long after a command without an answer the array may still carry it out.
	Settle time.Duration
	// Watch is how long a session that was cut is watched not to come back.
	Watch time.Duration
	// Patience bounds each wait for the kernel, and the clean-up.
	Patience time.Duration
}

// Machine is this machine.
type Machine interface {
	Root() bool
	Read(path string) (string, error)
	Exists(path string) bool
	Installed(program string) error
	Mounts() ([]host.MountPoint, error)
}

// Sessions are NVMe/TCP connections of this machine. *nvme.Host makes them.
type Sessions interface {
	Connect(ctx context.Context, t nvme.Target) (nvme.Device, error)
	Status(ctx context.Context, nqn, hostNQN string) (nvme.Status, error)
	Rescan(ctx context.Context, nqn, hostNQN string, want uint64) (nvme.Device, error)
	Disconnect(ctx context.Context, nqn, hostNQN string, reason telemetry.DisconnectReason) error
}

// Result is what was found.
type Result struct {
	found  *findings
	config Config
	seen   *rds.Seen // the scratch volume as first shown, nil without one
	array  rds.Resource
	kernel string
}

// Run looks, and tries where that is asked for. It writes each finding to out as it comes.
func Run(ctx context.Context, c Config, out io.Writer) *Result {
	found := &findings{show: func(text string) { _, _ = io.WriteString(out, text) }}
	r := &Result{found: found, config: c}
	found.title("Array")
	usable := r.lookAtArray(ctx)
	found.title("Node")
	r.lookAtNode(ctx)
	if c.Trial != nil {
		found.title("Scratch volume")
		r.try(ctx, usable)
	}
	if ctx.Err() != nil {
		found.add(Failed, "interrupted", "run it again", "not everything was looked at")
	}
	found.show("\n" + found.summary() + "\n")
	return r
}

// OK tells that nothing failed.
func (r *Result) OK() bool { return r.found.count(Failed) == 0 }

// Summary counts the findings.
func (r *Result) Summary() string { return r.found.summary() }
