package rdssim

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// policies are the rights that a group can have, as the console lists them.
var policies = []string{"local", "telnet", "ssh", "ftp", "reboot", "read", "write", "policy", "test", "winbox",
	"password", "web", "sniff", "sensitive", "api", "romon", "rest-api"}

// userGroup is an item of /user/group.
type userGroup struct {
	ID      int      `json:"id"`
	Name    string   `json:"name"`
	Policy  []string `json:"policy"`
	Comment string   `json:"comment,omitempty"`
}

// user is an item of /user. There are no passwords: nobody logs in with one.
type user struct {
	ID      int    `json:"id"`
	Name    string `json:"name"`
	Group   string `json:"group"`
	Address string `json:"address,omitempty"` // prefixes, comma separated; "" is any
	Comment string `json:"comment,omitempty"`
}

// userKey is an item of /user/ssh-keys.
type userKey struct {
	ID      int    `json:"id"`
	User    string `json:"user"`
	Key     string `json:"key"` // one line of OpenSSH
	Comment string `json:"comment,omitempty"`
}

// accounts are who may log in, and what they may do.
type accounts struct {
	Groups []*userGroup `json:"groups,omitempty"`
	Users  []*user      `json:"users,omitempty"`
	Keys   []*userKey   `json:"keys,omitempty"`
	LastID int          `json:"last_account,omitempty"`
}

func (a *accounts) nextAccount() int {
	a.LastID++
	return a.LastID
}

// needed is what the driver's guide gives its group.
var needed = []string{"ssh", "read", "write", "test"}

// makeAccounts makes the groups and the administrator of a new array, and the user of the options where he is
// missing, in a group of his own.
func (a *Array) makeAccounts() {
	if len(a.header.Groups) == 0 {
		a.header.Groups = []*userGroup{
			{ID: a.header.nextAccount(), Name: "full", Policy: policies},
			{ID: a.header.nextAccount(), Name: "read", Policy: without(policies, "ftp", "write", "policy")},
			{ID: a.header.nextAccount(), Name: "write", Policy: without(policies, "ftp", "policy")},
		}
		a.header.Users = []*user{{ID: a.header.nextAccount(), Name: "admin", Group: "full"}}
	}
	name := a.opts.User
	if a.userNamed(name) != nil {
		return
	}
	if a.groupNamed(name) == nil {
		a.header.Groups = append(a.header.Groups, &userGroup{ID: a.header.nextAccount(), Name: name, Policy: needed})
	}
	a.header.Users = append(a.header.Users, &user{ID: a.header.nextAccount(), Name: name, Group: name})
}

func without(list []string, gone ...string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(gone, s) })
}

func (a *Array) userNamed(name string) *user {
	i := slices.IndexFunc(a.header.Users, func(u *user) bool { return u.Name == name })
	if i < 0 {
		return nil
	}
	return a.header.Users[i]
}

func (a *Array) groupNamed(name string) *userGroup {
	i := slices.IndexFunc(a.header.Groups, func(g *userGroup) bool { return g.Name == name })
	if i < 0 {
		return nil
	}
	return a.header.Groups[i]
}

// allowed are a user's policies now: a change of his group holds from the next command on (assumed).
func (a *Array) allowed(name string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.userNamed(name)
	if u == nil {
		return nil
	}
	g := a.groupNamed(u.Group)
	if g == nil {
		return nil
	}
	return g.Policy
}

// mayLogIn is nil for a user with this key, the policy ssh and a peer that his address allows. client is
// the key that the simulator has made for the user of its options.
func (a *Array) mayLogIn(meta ssh.ConnMetadata, key, client ssh.PublicKey) error {
	refused := fmt.Errorf("login failure for user %s from %s via ssh", meta.User(), meta.RemoteAddr())
	rights := a.allowed(meta.User())
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.userNamed(meta.User())
	if u == nil || !slices.Contains(rights, "ssh") || !u.mayComeFrom(meta.RemoteAddr()) {
		return refused
	}
	if u.Name == a.opts.User && bytes.Equal(key.Marshal(), client.Marshal()) {
		return nil
	}
	for _, k := range a.header.Keys {
		known, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.Key))
		if err == nil && k.User == u.Name && bytes.Equal(known.Marshal(), key.Marshal()) {
			return nil
		}
	}
	return refused
}

func (u *user) mayComeFrom(peer net.Addr) bool {
	if u.Address == "" {
		return true
	}
	at, err := netip.ParseAddrPort(peer.String())
	if err != nil {
		return false
	}
	return slices.ContainsFunc(strings.Split(u.Address, ","), func(text string) bool {
		prefix, ok := parsePrefix(text)
		return ok && prefix.Contains(at.Addr().Unmap())
	})
}

func parsePrefix(text string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(text)
	return prefix, err == nil
}
