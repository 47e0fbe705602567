package rdssim

import (
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// errNotPermitted is the console's text for a missing policy (facts/routeros.md §4.3).
const errNotPermitted = "not enough permissions (9)"

// everything are the rights of who stands before the array, and of the control interface.
var everything = policies

// permitted refuses a command that the policies do not allow. Which command needs which is known roughly
// (facts/routeros.md §5): the whole configuration but users is one right, and /system/resource needs test too
// (§7, seen over REST).
func (o Options) permitted(rights []string, call *script.Call) error {
	policies := needs(call)
	if o.differs(HidesRights) && strings.HasPrefix(call.Menu, "/user") {
		policies = append(policies, "policy")
	}
	for _, policy := range policies {
		if !slices.Contains(rights, policy) {
			return script.Errorf(errNotPermitted)
		}
	}
	return nil
}

func needs(call *script.Call) []string {
	reads := slices.Contains([]string{"print", "find", "get"}, call.Verb)
	switch {
	case call.Menu == "/system/resource":
		return []string{"read", "test"}
	case call.Verb == "monitor-traffic":
		return []string{"read", "test"}
	case reads:
		return []string{"read"}
	case call.Menu == "/user" || strings.HasPrefix(call.Menu, "/user/"):
		return []string{"write", "policy"}
	default:
		return []string{"write"}
	}
}
