package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/driver"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/reconcile"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

const (
	defaultDriverName = "rds.csi.srvlab.io"
	envPrefix         = "RDS_CSI_"
)

// options is what flags and environment say.
type options struct {
	controller, node, version     bool
	endpoint, driverName          string
	nodeID, pluginDir, devLoopDir string
	clusterID, arrayName          string
	rds                           arrayOptions
	nvmeAddress                   string
	nvmePort                      int
	metrics                       metricsOptions
	logLevel, logFormat           string
	systemBus                     string // a D-Bus address; "" is the usual one
	kubeconfig                    string
	pod                           stage.Pod
	maxVolumes                    int64
	startupTaint                  string
	detachedGrace, orphanGrace    time.Duration
	inPod                         bool // an API server is announced by the environment
}

type arrayOptions struct {
	address, user, keyFile, hostKey, pool, hostACL string
	port, sessions                                 int
	insecure                                       bool
}

// define puts the flags into a set. Texts are part of the reference (docs/reference/flags.md).
func (o *options) define(f *flag.FlagSet) {
	f.BoolVar(&o.controller, "controller", false, "serve the controller: volumes on the array")
	f.BoolVar(&o.node, "node", false, "serve the node: attach, format and mount on this host")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	f.StringVar(&o.endpoint, "endpoint", "unix:///csi/csi.sock", "unix socket to serve CSI on")
	f.StringVar(&o.driverName, "driver-name", defaultDriverName, "CSI driver name")
	f.StringVar(&o.nodeID, "node-id", "", "name of this node in Kubernetes (node)")
	f.StringVar(&o.pluginDir, "plugin-dir", "", "directory on the host for stage records (node; default: that of the endpoint)")
	f.StringVar(&o.devLoopDir, "dev-loop-dir", "", "development only: directory of a simulated array whose files are attached as loop devices (node)")
	f.StringVar(&o.clusterID, "cluster-id", "", "names this cluster on the array, the same for controller and nodes (default: the UID of the namespace kube-system; without an API server it must be given)")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "file that says how to reach the API server (default: the pod's service account, if there is one)")
	f.Int64Var(&o.maxVolumes, "max-volumes-per-node", 100, "how many volumes the scheduler may place on this node; 0: no limit (node)")
	f.DurationVar(&o.detachedGrace, "detached-grace", driver.DefaultDetachedGrace, "how long Kubernetes has to say that a volume is not attached to this node, before one that is lost is let go of and unsynced data is dropped; at least 1s (node)")
	f.DurationVar(&o.orphanGrace, "orphan-grace", reconcile.DefaultOrphanGrace, "how long a volume on the array may be without a PersistentVolume before it is counted and named as an orphan; nothing is removed; at least 1s, and longer than the provisioner's --retry-interval-max (controller)")
	f.StringVar(&o.startupTaint, "startup-taint", "", "key of the taint to take off this Node once the driver is registered there, such as rds.csi.srvlab.io/agent-not-ready (node)")
	f.StringVar(&o.pod.Name, "pod-name", "", "name of the pod that this runs in, for events on it (controller)")
	f.StringVar(&o.pod.Namespace, "pod-namespace", "", "namespace of that pod (controller)")
	f.StringVar(&o.pod.UID, "pod-uid", "", "UID of that pod (controller)")
	f.StringVar(&o.arrayName, "array-name", "rds", "name of the array in volume ids; not its address")
	f.StringVar(&o.nvmeAddress, "nvme-address", "", "IP addresses for NVMe/TCP, comma separated (controller; default: --rds-address, if that is an IP address)")
	f.IntVar(&o.nvmePort, "nvme-port", 4420, "TCP port for NVMe/TCP (controller)")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "json", "json or console")
	o.metrics.define(f)
	o.rds.define(f)
}

func (o *arrayOptions) define(f *flag.FlagSet) {
	f.StringVar(&o.address, "rds-address", "", "host name or IP address of the array's SSH service (controller)")
	f.IntVar(&o.port, "rds-port", 22, "its TCP port (controller)")
	f.StringVar(&o.user, "rds-user", "csi", "user on the array (controller)")
	f.StringVar(&o.keyFile, "rds-key-file", "", "file with that user's private SSH key, Ed25519 or RSA (controller)")
	f.StringVar(&o.hostKey, "rds-host-key", "", "the array's SSH host key: a file, or its fingerprint SHA256:... (controller)")
	f.BoolVar(&o.insecure, "rds-insecure-skip-verify", false, "take any host key: whoever answers can read and destroy volumes (controller)")
	f.StringVar(&o.pool, "rds-pool", "", "mount point of the pool for new volumes, as /disk print shows it (controller)")
	f.IntVar(&o.sessions, "rds-ssh-sessions", 1, "commands on the array at the same time (controller)")
	f.StringVar(&o.hostACL, "rds-host-acl", "on", "on: the array lets in only the node that holds a volume; off: for arrays that refuse that (controller)")
}

// fromEnvironment sets the flags that the command line left alone from RDS_CSI_<FLAG>.
func fromEnvironment(f *flag.FlagSet, getenv func(string) string) error {
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	var errs []error
	f.VisitAll(func(fl *flag.Flag) {
		name := environmentName(fl.Name)
		value := getenv(name)
		if given[fl.Name] || value == "" {
			return
		}
		if err := fl.Value.Set(value); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: %q does not fit --%s: %w", name, value, fl.Name, err))
		}
	})
	return errors.Join(errs...)
}

func environmentName(flagName string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// check names the first flag that is missing or wrong, and how to mend it.
func (o *options) check() error {
	switch {
	case !o.controller && !o.node:
		return errors.New("nothing to serve: give --controller, --node or both (or the word demo)")
	case o.clusterID == "" && o.kubeconfig == "" && !o.inPod:
		return errors.New(noClusterID)
	case o.clusterID != "" && !driver.ValidClusterID(o.clusterID):
		return fmt.Errorf("--cluster-id %q: use at most 63 letters, digits, dots and hyphens", o.clusterID)
	case !driver.ValidName(o.driverName):
		return fmt.Errorf("--driver-name %q: use a domain name of at most 63 characters, such as %s", o.driverName, defaultDriverName)
	case !driver.ValidArrayName(o.arrayName):
		return fmt.Errorf("--array-name %q: use at most 32 letters, digits, dots, hyphens and underscores, a letter or digit first and last", o.arrayName)
	case o.controller && o.orphanGrace < time.Second:
		return fmt.Errorf("--orphan-grace %s: use 1s or more, such as %s", o.orphanGrace, reconcile.DefaultOrphanGrace)
	}
	if _, err := socketPath(o.endpoint); err != nil {
		return err
	}
	if err := o.metrics.check(); err != nil {
		return err
	}
	if o.controller {
		if err := o.checkController(); err != nil {
			return err
		}
	}
	if o.node {
		return o.checkNode()
	}
	return nil
}

func (o *options) checkController() error {
	switch {
	case o.rds.address == "":
		return errors.New("--rds-address is missing: give the host name or IP address of the array")
	case o.rds.keyFile == "":
		return errors.New("--rds-key-file is missing: give the private SSH key of the array's user (see docs/guides/prepare-the-array.md)")
	case o.rds.hostKey == "" && !o.rds.insecure:
		return errors.New("--rds-host-key is missing: give the array's host key, a file or SHA256:... (ssh-keyscan ARRAY | ssh-keygen -lf -)")
	case o.rds.hostACL != "on" && o.rds.hostACL != "off":
		return fmt.Errorf("--rds-host-acl %q: use on or off", o.rds.hostACL)
	case o.rds.sessions < 1 || o.rds.sessions > 20:
		return fmt.Errorf("--rds-ssh-sessions %d: use 1 to 20 (20 is what RouterOS allows by default)", o.rds.sessions)
	case o.rds.port < 1 || o.rds.port > 65535:
		return fmt.Errorf("--rds-port %d: use 1 to 65535", o.rds.port)
	case o.nvmePort < 1 || o.nvmePort > 65535:
		return fmt.Errorf("--nvme-port %d: use 1 to 65535", o.nvmePort)
	}
	if _, err := netip.ParseAddr(o.rds.address); err != nil && strings.ContainsAny(o.rds.address, ":/ ") {
		return fmt.Errorf("--rds-address %q: give a host name or an IP address alone; the port goes to --rds-port", o.rds.address)
	}
	for _, text := range o.nvmeAddresses() {
		if _, err := netip.ParseAddr(text); err != nil {
			return fmt.Errorf("--nvme-address %q: use IP addresses, the kernel resolves no names", text)
		}
	}
	return nil
}

func (o *options) checkNode() error {
	switch {
	case o.nodeID == "":
		return errors.New("--node-id is missing: give the name of this node in Kubernetes")
	case !driver.ValidNodeName(o.nodeID):
		return fmt.Errorf("--node-id %q: use the name of this node in Kubernetes: letters, digits, dots and hyphens", o.nodeID)
	case o.maxVolumes < 0:
		return fmt.Errorf("--max-volumes-per-node %d: use 0 (no limit) or more", o.maxVolumes)
	case o.detachedGrace < time.Second:
		return fmt.Errorf("--detached-grace %s: use 1s or more, such as %s", o.detachedGrace, driver.DefaultDetachedGrace)
	case o.devLoopDir != "" && !filepath.IsAbs(o.devLoopDir):
		return fmt.Errorf("--dev-loop-dir %q: use an absolute path", o.devLoopDir)
	}
	return nil
}

// nvmeAddresses are where nodes reach the array unless a StorageClass says otherwise.
func (o *options) nvmeAddresses() []string {
	if o.nvmeAddress == "" {
		if _, err := netip.ParseAddr(o.rds.address); err == nil {
			return []string{o.rds.address}
		}
		return nil
	}
	addresses := strings.Split(o.nvmeAddress, ",")
	for i := range addresses {
		addresses[i] = strings.TrimSpace(addresses[i])
	}
	return addresses
}

// maxSocketPath is what sun_path holds beside its closing NUL (unix(7)).
const maxSocketPath = 107

func socketPath(endpoint string) (string, error) {
	path, ok := strings.CutPrefix(endpoint, "unix://")
	if !ok || !filepath.IsAbs(path) {
		return "", fmt.Errorf("--endpoint %q: use unix:///absolute/path", endpoint)
	}
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("--endpoint: the path %s has %d bytes, and a unix socket's has %d at most", path, len(path), maxSocketPath)
	}
	return path, nil
}
