package rdssim

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Options say which array to simulate. Only Dir is required.
type Options struct {
	// Dir holds the backing files, the state, the keys and exports/. It is
	// made if it is missing; an array finds its items there again.
	Dir string
	// SSHAddress is where the console listens, by default 127.0.0.1:0.
	SSHAddress string
	// NVMeAddress is where exports are offered, by default 127.0.0.1:4420.
	NVMeAddress string
	// Export is "none" (default) or "nvmet".
	Export string
	// ConfigFS is nvmet's root, by default /sys/kernel/config/nvmet.
	ConfigFS string
	// Version is the RouterOS release, by default 7.24.4.
	Version string
	// Latency passes before each exec is carried out.
	Latency time.Duration
	// Pools are the file systems of the array, by default one Btrfs of 100 GiB
	// named storage-pool.
	Pools []Pool
	// User may log in with the generated client key, by default csi. A new one gets a group of
	// his own, with the policies that docs/guides/prepare-the-array.md gives.
	User string
	// HostKeyType is ed25519 (default) or rsa.
	HostKeyType string
	// MaxSessions bounds SSH sessions, by default 20 as on the real array.
	MaxSessions int
	// StrictRemove refuses to remove an item that is exported. What the real
	// array does is not known; the default allows it.
	StrictRemove bool
	// Differences are ways in which this array answers otherwise than by default.
	Differences []Difference
	// Seed makes what is unreliable repeatable: exit statuses, garbled
	// replies, the order of exports after a reboot.
	Seed uint64
	// Logger gets each console command.
	Logger *zap.Logger
}

// Pool is a mounted file system of the array.
type Pool struct {
	Name string // slot and mount point
	FS   string // btrfs, xfs or ext4
	Size uint64 // bytes
}

var poolName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$`)

// ParsePool reads NAME:FS:SIZE, such as storage-pool:btrfs:100G. Suffixes are
// binary.
func ParsePool(text string) (Pool, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return Pool{}, fmt.Errorf("pool %q: want NAME:btrfs|xfs|ext4:SIZE", text)
	}
	size, ok := parseSize(parts[2])
	p := Pool{Name: parts[0], FS: parts[1], Size: size}
	if !ok {
		return Pool{}, fmt.Errorf("pool %q: size %q is not bytes or a number with K, M, G or T", text, parts[2])
	}
	return p, p.validate()
}

func (p Pool) validate() error {
	switch {
	case !poolName.MatchString(p.Name):
		return fmt.Errorf("pool name %q: want letters, digits, dots, dashes or underscores, at most 32", p.Name)
	case !slices.Contains([]string{"btrfs", "xfs", "ext4"}, p.FS):
		return fmt.Errorf("pool %s: file system %q is not btrfs, xfs or ext4", p.Name, p.FS)
	case p.Size == 0:
		return fmt.Errorf("pool %s: its size is zero", p.Name)
	}
	return nil
}

// parseSize reads bytes, or a number with a binary suffix.
func parseSize(text string) (uint64, bool) {
	shift := 0
	if text != "" {
		shift = 10 * (strings.IndexByte("KMGT", text[len(text)-1]) + 1)
	}
	if shift > 0 {
		text = text[:len(text)-1]
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n<<shift>>shift != n || n<<shift > 1<<62 {
		return 0, false
	}
	return n << shift, true
}

// complete fills in the defaults and checks the rest.
func (o Options) complete() (Options, error) {
	if o.Dir == "" {
		return o, fmt.Errorf("the state directory is not set")
	}
	o.SSHAddress = orDefault(o.SSHAddress, "127.0.0.1:0")
	o.NVMeAddress = orDefault(o.NVMeAddress, "127.0.0.1:4420")
	o.Export = orDefault(o.Export, "none")
	o.ConfigFS = orDefault(o.ConfigFS, "/sys/kernel/config/nvmet")
	o.Version = orDefault(o.Version, defaultVersion)
	o.User = orDefault(o.User, "csi")
	o.HostKeyType = orDefault(o.HostKeyType, "ed25519")
	if o.MaxSessions == 0 {
		o.MaxSessions = 20
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if len(o.Pools) == 0 {
		o.Pools = []Pool{{Name: "storage-pool", FS: "btrfs", Size: 100 << 30}}
	}
	return o, o.check()
}

func (o Options) check() error {
	for i, p := range o.Pools {
		if err := p.validate(); err != nil {
			return err
		}
		if slices.ContainsFunc(o.Pools[:i], func(q Pool) bool { return q.Name == p.Name }) {
			return fmt.Errorf("pool %s is given twice", p.Name)
		}
	}
	if _, err := parseRelease(o.Version); err != nil {
		return err
	}
	if !slices.Contains([]string{"none", "nvmet"}, o.Export) {
		return fmt.Errorf("export %q is not nvmet or none", o.Export)
	}
	if !slices.Contains([]string{"ed25519", "rsa"}, o.HostKeyType) {
		return fmt.Errorf("host key type %q is not ed25519 or rsa", o.HostKeyType)
	}
	return o.checkDifferences()
}

// Validate reports what Start would refuse, without touching the directory.
func (o Options) Validate() error {
	_, err := o.complete()
	return err
}

func orDefault(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
