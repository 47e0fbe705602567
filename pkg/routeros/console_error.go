package routeros

import (
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// failureWidth bounds what an error quotes of the array's own text.
const failureWidth = 400

const (
	adviceUnknownSyntax = "this RouterOS does not know what was asked of it; 7.21 or newer with the rose-storage package is needed"
	adviceValue         = "the array does not accept a value; compare the parameters with the documentation of this RouterOS release"
	adviceSpace         = "free space in the pool or use another one"
	adviceBusy          = "stop what uses it on the array, then try again"
)

// rule maps a text of the console to a class. The texts are those of facts/routeros.md §4.3;
// for want of space and for duplicates no text is known from a device, so those are broad.
type rule struct {
	texts  []string
	class  fault.Class
	advice string
	denied bool // for want of a policy
}

// NotPermittedError says that the user's group on the array lacks a policy.
type NotPermittedError struct{ advice string }

func (e *NotPermittedError) Error() string { return e.advice }

func rules(user string) []rule {
	return []rule{
		{[]string{"not enough permissions", "not allowed (9)"}, fault.RouterOSRejected,
			"the group of user " + user + " lacks a policy: /user/group/set <group> policy=ssh,read,write,test", true},
		{[]string{"no such item"}, fault.NotFound, "", false},
		{[]string{"not enough space", "no space", "out of space", "disk full", "disk is full"}, fault.NoSpace, adviceSpace, false},
		{[]string{"already have", "already exist"}, fault.Conflict, "", false},
		{[]string{"stop using it first", "is in use", "is busy"}, fault.Busy, adviceBusy, false},
		{[]string{
			"syntax error", "bad command name", "bad parameter", "unknown parameter", "expected end of command",
			"expected command name", "expected input value", "input does not match any value",
		}, fault.RouterOSRejected, adviceUnknownSyntax, false},
		{[]string{"invalid value", "value of "}, fault.RouterOSRejected, adviceValue, false},
	}
}

// consoleError makes an error of what the array said. A script that failed half way may have
// had effects: the caller looks again.
func consoleError(user, version, said string) error {
	r, ok := match(rules(user), said)
	if !ok {
		r.class = fault.RouterOSRejected
	}
	return r.error(version, said)
}

// parseError is for a script that told neither that it ran nor that it failed. A known text
// says that nothing ran (facts/routeros.md §4.1); with any other one it may have.
func parseError(user, version, said string) error {
	if r, ok := match(rules(user), said); ok {
		return r.error(version, said)
	}
	return rule{class: fault.UnknownOutcome, advice: "that says neither done nor failed; see /log print on the array"}.error(version, said)
}

func (r rule) error(version, said string) error {
	said = printable(strings.TrimSpace(said), failureWidth)
	if r.denied {
		return fault.Errorf("", r.class, "the array (%s) answered %q: %w", release(version), said, &NotPermittedError{r.advice})
	}
	if r.advice == "" {
		return fault.Errorf("", r.class, "the array (%s) answered %q", release(version), said)
	}
	return fault.Errorf("", r.class, "the array (%s) answered %q: %s", release(version), said, r.advice)
}

func match(rules []rule, said string) (rule, bool) {
	said = strings.ToLower(said)
	for _, r := range rules {
		for _, text := range r.texts {
			if strings.Contains(said, text) {
				return r, true
			}
		}
	}
	return rule{}, false
}

func release(version string) string {
	if version == "" {
		return "of unknown version"
	}
	return "RouterOS " + version
}
