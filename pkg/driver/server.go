package driver

import (
	"context"
	"fmt"
	"net"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// Driver serves CSI.
type Driver struct {
	cfg           DriverConfig
	server        *grpc.Server
	controllerOps *inFlight
	nodeOps       *inFlight
	node          *node // nil without a node service
}

// windowBytes is as much as gRPC takes at least, and more than any CSI request has. It is fixed, since gRPC
// otherwise measures the bandwidth of the socket with a ping beside every call.
const windowBytes = 64 << 10

// NewDriver makes the services that the configuration asks for. It does not listen yet.
func NewDriver(cfg DriverConfig) (*Driver, error) {
	if cfg.Controller == nil && cfg.Node == nil {
		return nil, fmt.Errorf("a driver needs a controller or a node configuration")
	}
	d := &Driver{cfg: cfg, controllerOps: newInFlight(), nodeOps: newInFlight()}
	options := append(cfg.ServerOptions, grpc.StaticConnWindowSize(windowBytes))
	// From the outside in: the log line sees the status, the status is made of the error
	// that was measured, and a panic is measured like any other error.
	d.server = grpc.NewServer(append(options, grpc.ChainUnaryInterceptor(d.logCall, translate, d.meter, answerInTime, d.guard))...)
	csi.RegisterIdentityServer(d.server, &identity{driver: d})
	if cfg.Controller != nil {
		csi.RegisterControllerServer(d.server, &controller{driver: d, cfg: *cfg.Controller})
	}
	if cfg.Node != nil {
		d.node = newNode(d, *cfg.Node)
		csi.RegisterNodeServer(d.server, d.node)
	}
	return d, nil
}

// GetMetrics gives the driver's instruments; never nil.
func (d *Driver) GetMetrics() *telemetry.Metrics { return d.cfg.Metrics }

// Serve answers calls on l until Stop.
func (d *Driver) Serve(l net.Listener) error { return d.server.Serve(l) }

// Stop takes no new calls and waits for those that run, until ctx ends; then it cancels them.
func (d *Driver) Stop(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.server.GracefulStop()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		d.server.Stop()
		<-done
	}
}
