package check

import (
	"context"
	"errors"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

// lookAtArray tells whether a scratch volume can be tried.
func (r *Result) lookAtArray(ctx context.Context) bool {
	if r.config.Array == nil {
		r.found.skip("array", "%s", r.config.Missing)
		return false
	}
	if !r.lookAtLogin(ctx) {
		return false
	}
	usable := r.lookAtVersion(ctx)
	r.lookAtRights(ctx)
	if usable {
		there := r.lookAtPackage(ctx)
		usable = r.lookAtPool(ctx) && there
	} else {
		r.found.skip("package and pool", "they are looked at once the RouterOS version is known and new enough")
	}
	r.lookAtPorts(ctx)
	return usable
}

// lookAtLogin goes as far as the first command. One connection tells all: a firewall may count them.
func (r *Result) lookAtLogin(ctx context.Context) bool {
	err := r.config.Array.Readable(ctx)
	reason := fault.ReasonOf(err)
	switch reason {
	case fault.SSHUnreachable, fault.ReasonTimeout, fault.ReasonCanceled, fault.RouterOSLostReply:
		r.found.add(Failed, "reachable", "check the address, the network between here and the array, and /ip/service print there",
			"the array's SSH service at %s does not answer as it should: %v", r.config.SSH, err)
		r.found.skip("the rest of the array", "it cannot be reached")
		return false
	}
	r.found.ok("reachable", "SSH answers at %s", r.config.SSH)
	switch reason {
	case fault.SSHHostKey:
		r.found.add(Failed, "host key", "compare with /ip/ssh print on the array; if that is its key, give it to --rds-host-key", "%v", err)
	case fault.SSHAuth:
		r.found.add(Failed, "login", "on the array: /user/ssh-keys print where user="+r.config.User+" must show the key, and the user's group must have the policy ssh: /user/group print",
			"user %s cannot log in: the key is not the user's, or the group lacks the policy ssh: %v", r.config.User, err)
	default:
		r.loggedIn()
		return true
	}
	r.found.skip("the rest of the array", "nobody is logged in")
	return false
}

func (r *Result) loggedIn() {
	if r.config.Insecure {
		r.found.add(Warning, "host key", "give --rds-host-key and leave --rds-insecure-skip-verify away",
			"it is not verified: whoever answers at that address gets the commands")
	} else {
		r.found.ok("host key", "the array shows the one that is configured")
	}
	r.found.ok("login", "user %s is let in with its key", r.config.User)
}

func (r *Result) lookAtVersion(ctx context.Context) bool {
	const subject = "RouterOS"
	var err error
	r.array, err = r.config.Array.Look(ctx)
	switch {
	case err == nil:
		r.found.ok(subject, "version %s", r.array.Version)
		if r.array.Simulated() {
			r.found.ok("simulator", "this is the simulated array: its answers prove nothing of a real one")
		}
		return true
	case r.array.Version == "" && fault.KindOf(err) == fault.Precondition:
		r.found.add(Failed, subject, "", "the array does not tell its version; see rights")
	default:
		r.found.add(Failed, subject, "", "%v", err)
	}
	return false
}

// needed are the policies without which something of the driver is refused.
var needed = []string{"ssh", "read", "write", "test"}

// risky are those with which a stolen key could do more than the driver has to.
var risky = []string{"policy", "ftp", "reboot", "sensitive", "password", "sniff", "romon", "local", "telnet", "winbox", "web", "api", "rest-api"}

func (r *Result) lookAtRights(ctx context.Context) {
	const subject = "rights"
	rights, err := r.config.Array.RightsOf(ctx, r.config.User)
	if err != nil {
		r.rightsByTrial(ctx, err)
		return
	}
	fix := "on the array: /user/group/set " + rights.Group + " policy=" + strings.Join(needed, ",")
	missing := slices.DeleteFunc(slices.Clone(needed), func(p string) bool { return slices.Contains(rights.Policies, p) })
	more := slices.DeleteFunc(slices.Clone(risky), func(p string) bool { return !slices.Contains(rights.Policies, p) })
	switch {
	case len(missing) > 0:
		r.found.add(Failed, subject, fix, "group %s lacks the policy %s", rights.Group, strings.Join(missing, " and "))
	case len(more) > 0:
		r.found.add(Warning, subject, fix, "group %s has all it needs, and more: with %s whoever gets the key can do more than the driver", rights.Group, strings.Join(more, ", "))
	default:
		r.found.ok(subject, "group %s has %s, and no more", rights.Group, strings.Join(needed, ", "))
	}
}

// rightsByTrial is for an array that does not show them to this user.
func (r *Result) rightsByTrial(ctx context.Context, shown error) {
	const subject = "rights"
	fix := "on the array: /user/group/set GROUP policy=" + strings.Join(needed, ",") + " (the group of " + r.config.User + ": /user print)"
	switch {
	case denied(r.config.Array.Readable(ctx)):
		r.found.add(Failed, subject, fix, "the group of user %s lacks the policy read: the array refuses to show its disks", r.config.User)
	case r.array.Version == "":
		r.found.add(Failed, subject, fix, "the group of user %s lacks the policy test: the array shows its disks but not its version", r.config.User)
	default:
		r.found.add(Warning, subject, "", "the array does not tell the rights of user %s (%v); read and test work, and --write tries whether write does", r.config.User, shown)
	}
}

// denied tells that a policy was missing.
func denied(err error) bool {
	_, ok := errors.AsType[*routeros.NotPermittedError](err)
	return ok
}

// lookAtPackage is false where the package is known to be missing.
func (r *Result) lookAtPackage(ctx context.Context) bool {
	const subject, fix = "rose-storage", "install the package rose-storage for this RouterOS release and reboot the array (/system/package print shows it then)"
	switch there, err := r.config.Array.RoseStorage(ctx); {
	case err != nil:
		r.found.add(Warning, subject, "", "whether the package is there cannot be told: %v", err)
	case !there:
		r.found.add(Failed, subject, fix, "the package is not there: without it the array offers nothing over NVMe/TCP")
		return false
	default:
		r.found.ok(subject, "the package is there")
	}
	return true
}

func (r *Result) lookAtPool(ctx context.Context) bool {
	const subject = "pool"
	if r.config.Pool == "" {
		r.found.add(Warning, subject, "give --rds-pool a mount point as /disk print shows it", "no --rds-pool is given, so every StorageClass must name one; mounted there: %s", r.mounted(ctx))
		return false
	}
	pool, err := r.config.Array.Pool(ctx, "")
	switch {
	case fault.ReasonOf(err) == fault.ReasonOther:
		r.found.differs(Failed, subject, Difference{"it shows sizes in a way that the driver cannot read: " + err.Error(), "no volume can be made", noSetting})
		return false
	case err != nil:
		r.found.add(Failed, subject, "give --rds-pool a mount point as /disk print shows it; mounted there: "+r.mounted(ctx), "%v", err)
		return false
	case pool.FS != "btrfs":
		r.found.add(Warning, subject, "nothing, unless you want snapshots: those need Btrfs", "%s is %s: %d bytes, %d free, %d for new volumes; its file system makes no snapshots",
			pool.MountPoint, pool.FS, pool.Size, pool.Free, pool.Available())
	case pool.Available() == 0:
		r.found.add(Warning, subject, "free space, or use another pool", "%s is %s: %d bytes, %d free, none for new volumes: a tenth stays free", pool.MountPoint, pool.FS, pool.Size, pool.Free)
	default:
		r.found.ok(subject, "%s is %s: %d bytes, %d free, %d for new volumes", pool.MountPoint, pool.FS, pool.Size, pool.Free, pool.Available())
	}
	return true
}

func (r *Result) mounted(ctx context.Context) string {
	points, err := r.config.Array.MountPoints(ctx)
	switch {
	case err != nil:
		return "cannot be told: " + err.Error()
	case len(points) == 0:
		return "nothing"
	default:
		return strings.Join(points, ", ")
	}
}
