package routeros

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Client runs commands on one array. It may be used by many goroutines.
type Client struct {
	config Config
	attrs  []telemetry.Attr
	tasks  *tasks
	slots  *slots
	links  *redialer
}

// New checks the configuration and reads the host key. It does not dial: an array that is
// down is no reason not to start.
func New(config Config) (*Client, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, fault.E("configure the array connection", fault.Invalid, err)
	}
	if err := checkHostKey(config); err != nil {
		return nil, fault.E("configure the array connection", fault.SSHHostKey, err)
	}
	host, port, _ := splitAddress(config.Address)
	attrs := []telemetry.Attr{telemetry.ServerAddress(host), telemetry.ServerPort(port)}
	running := &tasks{}
	d := &dialer{config: config, tasks: running, host: host, port: port}
	return &Client{
		config: config,
		attrs:  attrs,
		tasks:  running,
		slots:  &slots{free: semaphore.NewWeighted(int64(config.Sessions)), metrics: config.Metrics, attrs: attrs},
		links:  &redialer{dial: d.dial, tasks: running},
	}, nil
}

func checkHostKey(config Config) error {
	if config.InsecureSkipVerify {
		config.Log.Warn("the SSH host key of the array is not verified: whoever answers at its address gets its commands",
			zap.String("address", config.Address))
		return nil
	}
	_, err := loadHostKeys(config.HostKey, config.Address)
	return err
}

// Close ends the connection and waits until nothing of the client runs any more. An exec in
// flight ends with an unknown outcome.
func (c *Client) Close() error {
	c.links.close()
	c.tasks.wait()
	return nil
}

// Run is one exec. The Reply is non-nil whenever the array answered in full, also beside an
// error: a script that fails half way may have had effects. The kinds of error:
//
//   - UnknownOutcome: it was sent and no complete reply came. Look at the array again.
//   - SSHUnreachable, SSHAuth, SSHHostKey: nothing was sent.
//   - Timeout, Canceled: ctx ended before anything was sent.
//   - what the array answered, by the catalogue of facts/routeros.md §4.3.
//
// A cancelled call returns at once, while its exec goes on; past its deadline, or past
// Config.ExecTimeout, an exec takes the connection down.
func (c *Client) Run(ctx context.Context, command telemetry.Command, body Body) (*Reply, error) {
	start := time.Now()
	slot, err := c.slots.take(ctx)
	if err != nil {
		err = fault.Wrap(c.op(command), fmt.Errorf("nothing was sent, others were still at work: %w", err))
		c.config.Metrics.RecordRouterOSCommand(ctx, command, err, time.Since(start))
		return nil, err
	}
	defer slot.leave()
	reply, took, err := c.runInSlot(ctx, command, newScript(body), slot)
	err = fault.Wrap(c.op(command), err)
	c.config.Metrics.RecordRouterOSCommand(ctx, command, err, took)
	return reply, err
}

// runInSlot repeats an exec that was certainly not sent, once: on a connection from before, of
// which nobody knew that it was dead. took leaves out the dial, which is measured by itself.
func (c *Client) runInSlot(ctx context.Context, command telemetry.Command, s script, slot *slot) (reply *Reply, took time.Duration, err error) {
	start := time.Now()
	for number := 1; ; number++ {
		l, err := c.links.get(ctx)
		if err != nil {
			return nil, time.Since(start), err
		}
		begun := time.Now()
		a := attempt{client: c, command: command, script: s, link: l, slot: slot, number: number}
		reply, sent, err := a.run(ctx)
		if err == nil || sent || number > 1 || l.alive() || l.born.After(start) || ctx.Err() != nil {
			return reply, time.Since(begun), err
		}
	}
}

func (c *Client) op(command telemetry.Command) string {
	return "routeros " + string(command) + " on " + c.config.Address
}
