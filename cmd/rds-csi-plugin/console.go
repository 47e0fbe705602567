package main

import (
	"fmt"
	"net"
	"strconv"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// consoleAddress is host:port of the array's SSH service.
func (o *arrayOptions) consoleAddress() string {
	return net.JoinHostPort(o.address, strconv.Itoa(o.port))
}

// console is the way to the array. It does not dial yet.
func (o *arrayOptions) console(metrics *telemetry.Metrics, log *zap.Logger) (*routeros.Client, error) {
	client, err := routeros.New(routeros.Config{
		Address: o.consoleAddress(), User: o.user, KeyFile: o.keyFile, HostKey: o.hostKey, InsecureSkipVerify: o.insecure,
		Sessions: o.sessions, Metrics: metrics, Log: log,
	})
	if err != nil {
		return nil, usageError{fmt.Errorf("--rds-address, --rds-key-file and --rds-host-key: %w", err)}
	}
	return client, nil
}
