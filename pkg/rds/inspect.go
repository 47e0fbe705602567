package rds

import (
	"context"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// What `rds-csi-plugin check` asks of an array. Nothing here changes anything, and nothing depends on a
// RouterOS that the driver can work with: it is also for finding out why it cannot.

// Readable is nil where the user may read the array's configuration (the policy read).
func (a *Array) Readable(ctx context.Context) error {
	_, err := a.console.Run(ctx, telemetry.CommandResource, func(put routeros.Put) string {
		return put("disks", "[:len [/disk find]]")
	})
	return fault.Wrap("read the array's disks", err)
}

// Rights are those of a user.
type Rights struct {
	Group    string
	Policies []string
}

// RightsOf tells a user's rights. An array that shows them to nobody but an administrator refuses.
func (a *Array) RightsOf(ctx context.Context, user string) (Rights, error) {
	op := "look at the group of user " + user
	users, err := a.rowsOf(ctx, "/user", user)
	if err != nil {
		return Rights{}, fault.Wrap(op, err)
	}
	if len(users) != 1 || users[0].String("group") == "" {
		return Rights{}, fault.Errorf(op, fault.NotFound, "the array shows no group of that user")
	}
	r := Rights{Group: users[0].String("group")}
	groups, err := a.rowsOf(ctx, "/user/group", r.Group)
	if err != nil {
		return Rights{}, fault.Wrap(op, err)
	}
	if len(groups) != 1 || !groups[0].Has("policy") {
		return Rights{}, fault.Errorf(op, fault.NotFound, "the array shows no policies of group %s", r.Group)
	}
	for p := range strings.SplitSeq(groups[0].String("policy"), ",") {
		if p = strings.TrimSpace(p); p != "" && !strings.HasPrefix(p, "!") {
			r.Policies = append(r.Policies, p)
		}
	}
	return r, nil
}

// rowsOf are the items of a menu that bear a name.
func (a *Array) rowsOf(ctx context.Context, menu, name string) ([]routeros.Item, error) {
	reply, err := a.console.Run(ctx, telemetry.CommandResource, func(put routeros.Put) string {
		return put("row", asJSON+"["+menu+" print detail as-value where name="+routeros.Quote(name)+"]]")
	})
	if err != nil {
		return nil, err
	}
	return reply.Rows("row")
}

const rosePackage = "rose-storage"

// RoseStorage tells whether the package that brings NVMe/TCP exports is there: by the list of packages, and
// where that cannot be read by what the console knows.
func (a *Array) RoseStorage(ctx context.Context) (bool, error) {
	const op = "look for the package " + rosePackage
	rows, err := a.rowsOf(ctx, "/system/package", rosePackage)
	if err == nil {
		return len(rows) == 1 && !rows[0].Bool("disabled") && !rows[0].Bool("available"), nil
	}
	if fault.ReasonOf(err) != fault.RouterOSRejected {
		return false, fault.Wrap(op, err)
	}
	reply, err := a.console.Run(ctx, telemetry.CommandResource, func(put routeros.Put) string {
		return put("parsed", "[:tostr [:parse "+routeros.Quote("/disk/set numbers=0 nvme-tcp-export=no nvme-tcp-server-port=4420")+"]]")
	})
	if err != nil {
		return false, fault.Wrap(op, err)
	}
	parsed, _ := reply.Value("parsed")
	if !strings.Contains(parsed, "evl") {
		return false, nil
	}
	return !strings.Contains(parsed, "bad parameter"), nil
}

// MountPoints are those of the file systems that volumes could lie in, each with its kind in brackets.
func (a *Array) MountPoints(ctx context.Context) ([]string, error) {
	const op = "look for file systems"
	reply, err := a.console.Run(ctx, telemetry.CommandPoolGet, func(put routeros.Put) string {
		return `:foreach rdsR in=[/disk print detail as-value proplist=slot,fs,mount-point where mount-point!=""] do={` + put("mount", asJSON+"$rdsR]") + "}"
	})
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	rows, err := reply.Rows("mount")
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	var found []string
	for _, row := range rows {
		if point := strings.Trim(row.String("mount-point"), "/"); point != "" {
			found = append(found, point+" ("+row.String("fs")+")")
		}
	}
	return found, nil
}
