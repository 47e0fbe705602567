package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// usageError is a wrong or missing flag: one sentence that names the flag and
// the fix.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return usageError{fmt.Sprintf(format, args...)}
}

// pools collects repeated --pool flags.
type pools []rdssim.Pool

func (p *pools) String() string { return "" }

func (p *pools) Set(text string) error {
	pool, err := rdssim.ParsePool(text)
	if err != nil {
		return err
	}
	*p = append(*p, pool)
	return nil
}

// differences collects repeated --differ flags.
type differences []rdssim.Difference

func (d *differences) String() string { return "" }

func (d *differences) Set(text string) error {
	*d = append(*d, rdssim.Difference(text))
	return nil
}

type settings struct {
	array   rdssim.Options
	control string
}

// parse reads the command line. --help writes the usage to stdout and returns
// flag.ErrHelp.
func parse(args []string, stdout io.Writer) (settings, error) {
	var s settings
	set := flag.NewFlagSet("rds-sim", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&s.array.Dir, "dir", "", "state directory, with the backing files, the keys and exports/ (required)")
	set.StringVar(&s.array.SSHAddress, "ssh-address", "127.0.0.1:0", "where the console listens")
	set.StringVar(&s.array.NVMeAddress, "nvme-address", "127.0.0.1:4420", "where exports are offered")
	set.StringVar(&s.array.Export, "export", "none", "how volumes are exported: nvmet (the kernel's target) or none")
	set.StringVar(&s.array.Version, "version", "7.24.4", "RouterOS release to be")
	set.DurationVar(&s.array.Latency, "latency", 0, "time each exec takes longer, such as 20ms")
	set.Var((*pools)(&s.array.Pools), "pool", "file system as NAME:btrfs|xfs|ext4:SIZE, may be repeated (default storage-pool:btrfs:100G)")
	set.StringVar(&s.array.User, "user", "csi", "user that may log in")
	set.StringVar(&s.array.HostKeyType, "host-key-type", "ed25519", "ed25519 or rsa")
	set.Var((*differences)(&s.array.Differences), "differ", "answer otherwise than by default, such as no-acl-list, may be repeated")
	set.StringVar(&s.control, "control-address", "127.0.0.1:0", "loopback address of the HTTP control interface, empty for none")
	if err := set.Parse(args); err != nil {
		if err == flag.ErrHelp {
			set.SetOutput(stdout)
			set.PrintDefaults()
			return s, err
		}
		return s, usagef("%v; rds-sim --help lists the flags", err)
	}
	return s, s.check(set.Args())
}

func (s settings) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return usagef("unexpected argument %q: every setting is a flag, rds-sim --help lists them", rest[0])
	case s.array.Dir == "":
		return usagef("flag --dir is missing: give it the directory for the array's files")
	case s.array.Latency < 0:
		return usagef("flag --latency is negative: give it a duration such as 20ms")
	case s.control != "" && !isLoopback(s.control):
		return usagef("flag --control-address %q is not on loopback: use 127.0.0.1:0, or leave it empty", s.control)
	}
	for _, flag := range [][3]string{{"--ssh-address", s.array.SSHAddress, "127.0.0.1:0"}, {"--nvme-address", s.array.NVMeAddress, "127.0.0.1:4420"}} {
		if _, _, err := net.SplitHostPort(flag[1]); err != nil {
			return usagef("flag %s %q is not HOST:PORT: use an address such as %s", flag[0], flag[1], flag[2])
		}
	}
	return s.checkOptions()
}

// checkOptions names the flag of the option that the array would refuse.
func (s settings) checkOptions() error {
	err := s.array.Validate()
	if err == nil {
		return nil
	}
	subject, _, _ := strings.Cut(err.Error(), " \"")
	flags := map[string]string{"version": "--version", "export": "--export", "host key type": "--host-key-type", "difference": "--differ"}
	if name, known := flags[subject]; known {
		return usagef("flag %s: %v", name, err)
	}
	return usagef("flag --pool: %v", err)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
