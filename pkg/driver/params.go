package driver

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// StorageClass parameters, which are also keys of the volume context (docs/reference/storageclass.md).
const (
	keyArray          = "array"
	keyPool           = "pool"
	keyNVMeAddress    = "nvmeAddress"
	keyNVMePort       = "nvmePort"
	keyNrIOQueues     = "nrIoQueues"
	keyCtrlLossTmo    = "ctrlLossTmo"
	keyReconnectDelay = "reconnectDelay"
	keyKeepAliveTmo   = "keepAliveTmo"
	keyFastIOFailTmo  = "fastIoFailTmo"

	sidecarPrefix   = "csi.storage.k8s.io/"
	keyPVCName      = sidecarPrefix + "pvc/name"
	keyPVCNamespace = sidecarPrefix + "pvc/namespace"
	keyPVName       = sidecarPrefix + "pv/name"
)

const off = "off" // of a time-out: never

// tuning are the parameters that go to the kernel's connect, with their bounds.
func tuning() map[string]bounds {
	return map[string]bounds{
		keyNrIOQueues:     {low: 1, high: 128},
		keyCtrlLossTmo:    {low: 0, high: 86400, canBeOff: true},
		keyReconnectDelay: {low: 1, high: 600},
		keyKeepAliveTmo:   {low: 1, high: 600},
		keyFastIOFailTmo:  {low: 0, high: 86400, canBeOff: true},
	}
}

type bounds struct {
	low, high int
	canBeOff  bool // "off" or -1
}

func (b bounds) parse(key, text string) (int, error) {
	if b.canBeOff && (text == off || text == "-1") {
		return -1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < b.low || n > b.high {
		hint := ""
		if b.canBeOff {
			hint = ", or off"
		}
		return 0, invalid(key, "%.40q is not a whole number from %d to %d%s", text, b.low, b.high, hint)
	}
	return n, nil
}

// defaultOptions: few queues connect fast and spare the array (facts/nvme.md §3 no. 34), a dead
// path is waited for rather than failed, and looked at again every two seconds.
func defaultOptions() nvme.Options {
	return nvme.Options{NrIOQueues: 4, CtrlLossTmo: -1, ReconnectDelay: 2, KeepAliveTmo: 5, FastIOFailTmo: -1}
}

// parseOptions reads the tuning keys of a map; others are not looked at.
func parseOptions(m map[string]string) (nvme.Options, error) {
	o := defaultOptions()
	fields := map[string]*int{
		keyNrIOQueues: &o.NrIOQueues, keyCtrlLossTmo: &o.CtrlLossTmo, keyReconnectDelay: &o.ReconnectDelay,
		keyKeepAliveTmo: &o.KeepAliveTmo, keyFastIOFailTmo: &o.FastIOFailTmo,
	}
	known := tuning()
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		text, given := m[key]
		if !given {
			continue
		}
		n, err := known[key].parse(key, text)
		if err != nil {
			return nvme.Options{}, err
		}
		*fields[key] = n
	}
	return o, nil
}

// CtrlLossTmo is the ctrl_loss_tmo that a publish context asks for, in seconds; -1 is never.
func CtrlLossTmo(publishContext map[string]string) (int, error) {
	options, err := parseOptions(publishContext)
	return options.CtrlLossTmo, fault.Wrap("publish_context", err)
}

// parsePortals reads the addresses (comma separated) and port that nodes connect to.
func parsePortals(addresses, port string) ([]nvme.Portal, error) {
	n, err := bounds{low: 1, high: 65535}.parse(keyNVMePort, port)
	if err != nil {
		return nil, err
	}
	var portals []nvme.Portal
	for text := range strings.SplitSeq(addresses, ",") {
		addr, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return nil, invalid(keyNVMeAddress, "%.60q is no IP address; the kernel resolves no names", text)
		}
		portals = append(portals, nvme.Portal{Address: addr.String(), Port: n})
	}
	return portals, nil
}

func parameterKeys() []string {
	keys := slices.Collect(maps.Keys(tuning()))
	keys = append(keys, keyArray, keyPool, keyNVMeAddress, keyNVMePort)
	slices.Sort(keys)
	return keys
}

// maxMap is the CSI size limit of a map of strings, in bytes.
const maxMap = 4096

func checkMap(field string, m map[string]string) error {
	size := 0
	for key, value := range m {
		size += len(key) + len(value)
	}
	if size > maxMap {
		return invalid(field, "has %d bytes; CSI allows %d", size, maxMap)
	}
	return nil
}

// checkParameters is nil if every StorageClass parameter is known and right.
func (d *Driver) checkParameters(params map[string]string) error {
	if err := checkMap("parameters", params); err != nil {
		return err
	}
	known := parameterKeys()
	for _, key := range slices.Sorted(maps.Keys(params)) {
		if !slices.Contains(known, key) && !strings.HasPrefix(key, sidecarPrefix) {
			return invalid("parameters", "%.60q is unknown; known are %s", key, strings.Join(known, ", "))
		}
	}
	if array, ok := params[keyArray]; ok && array != d.cfg.ArrayName {
		return invalid(keyArray, "array %.40q is not configured here; configured is %s", array, d.cfg.ArrayName)
	}
	if pool := params[keyPool]; strings.ContainsFunc(pool, func(r rune) bool { return r < ' ' || r > '~' }) || len(pool) > maxID {
		return invalid(keyPool, "%.140q is no mount point", pool)
	}
	_, err := d.connection(params)
	return err
}

// connection is how a node reaches a volume: what its class says, else the controller's flags.
func (d *Driver) connection(context map[string]string) (connection, error) {
	c := connection{addresses: strings.Join(d.cfg.Controller.Addresses, ","), port: strconv.Itoa(d.cfg.Controller.Port)}
	if text, ok := context[keyNVMeAddress]; ok {
		if text == "" {
			return c, invalid(keyNVMeAddress, "is empty: leave it out, and --nvme-address holds")
		}
		c.addresses = text
	}
	if text, ok := context[keyNVMePort]; ok {
		c.port = text
	}
	if c.addresses == "" {
		return c, fault.Errorf("", fault.Precondition, "no address for NVMe/TCP: give --nvme-address or the StorageClass parameter %s", keyNVMeAddress)
	}
	var err error
	if c.portals, err = parsePortals(c.addresses, c.port); err != nil {
		return c, err
	}
	c.options, err = parseOptions(context)
	return c, err
}

type connection struct {
	addresses, port string
	portals         []nvme.Portal
	options         nvme.Options
}
