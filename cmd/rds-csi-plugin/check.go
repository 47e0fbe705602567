package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"strconv"

	"go.uber.org/zap"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/check"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

const checkUsage = `rds-csi-plugin check looks at the array and at this machine and says in plain sentences whether the driver can
work with them, and what to do where it cannot. It changes nothing. It takes the flags and variables of the driver.

  rds-csi-plugin check --rds-address ADDRESS ...            the array, and this machine
  rds-csi-plugin check                                      this machine alone
  rds-csi-plugin check --rds-address ADDRESS ... --write    also makes one small volume in the pool --rds-pool, tries
                                                            what only the array itself can answer, and takes it away
                                                            again

Exit code 0: nothing failed; 1: something did; 2: a mistake on the command line.

`

type checkOptions struct {
	options
	write           bool
	report, kubelet string
}

func parseCheck(args []string, getenv func(string) string, stdout io.Writer) (*checkOptions, error) {
	o := &checkOptions{}
	f := flag.NewFlagSet("rds-csi-plugin check", flag.ContinueOnError)
	o.rds.define(f)
	f.StringVar(&o.nvmeAddress, "nvme-address", "", "IP addresses for NVMe/TCP, comma separated (default: --rds-address, if that is an IP address)")
	f.IntVar(&o.nvmePort, "nvme-port", 4420, "TCP port for NVMe/TCP")
	f.StringVar(&o.kubelet, "kubelet-dir", "/var/lib/kubelet", "kubelet's directory on this machine")
	f.BoolVar(&o.write, "write", false, "make a scratch volume of 64 MiB, try what only the array can answer, take it away again")
	f.StringVar(&o.report, "report", "", "also write what was found to this new file, or - for the end of stdout, without addresses and keys, for a bug report")
	if err := parseFlags(f, args, getenv, stdout, checkUsage); err != nil {
		return nil, err
	}
	return o, o.valid()
}

func (o *checkOptions) valid() error {
	switch {
	case o.rds.address != "":
		if err := o.checkController(); err != nil {
			return usageError{err}
		}
	case o.write:
		return usageError{errors.New("--write needs an array: give --rds-address and the flags that go with it")}
	}
	if o.write && o.rds.pool == "" {
		return usageError{errors.New("--write needs a pool for its volume: give --rds-pool, a mount point as /disk print shows it")}
	}
	return nil
}

// checkUp looks, reports, and fails where something failed.
func checkUp(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) (err error) {
	o, err := parseCheck(args, getenv, stdout)
	if err != nil {
		return err
	}
	ctx, stop := untilHangup(ctx)
	defer stop()
	c := check.Config{
		Missing: "no --rds-address is given", SSH: o.rds.consoleAddress(), User: o.rds.user, Insecure: o.rds.insecure, Pool: o.rds.pool, HostACL: o.rds.hostACL == "on",
		Kubelet: o.kubelet, Machine: check.ThisMachine{}, Dial: check.Dial, Version: version, Secrets: o.identifying(),
	}
	if o.rds.address != "" {
		for _, address := range o.nvmeAddresses() {
			c.Addresses = append(c.Addresses, net.JoinHostPort(address, strconv.Itoa(o.nvmePort)))
		}
		o.rds.sessions = 1 // what cleans up must wait for a command that was given up and still runs
		console, failed := o.rds.console(telemetry.Noop(), zap.NewNop())
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, console.Close()) }()
		c.Array = rds.New(rds.Config{Console: console, Pool: o.rds.pool, Port: o.nvmePort, HostACL: true})
	}
	if o.write {
		if c.Trial, err = o.trial(); err != nil {
			return err
		}
	}
	return o.run(ctx, c, stdout)
}

// identifying are texts that tell whose array this is, and what a report has in their place.
func (o *checkOptions) identifying() map[string]string {
	texts := map[string]string{}
	for _, address := range o.nvmeAddresses() {
		texts[address] = "<nvme address>"
	}
	texts[o.rds.address], texts[o.rds.keyFile], texts[o.rds.hostKey] = "<array>", "<key file>", "<host key>"
	return texts
}
