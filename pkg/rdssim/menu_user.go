package rdssim

import (
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

func (g *userGroup) id() script.ID { return itemID(g.ID) }

// value: the policies that a group lacks are listed with an exclamation mark.
func (g *userGroup) value(name string) script.Value {
	switch name {
	case "name":
		return g.Name
	case "policy":
		shown := slices.Clone(g.Policy)
		for _, p := range policies {
			if !slices.Contains(g.Policy, p) {
				shown = append(shown, "!"+p)
			}
		}
		return strings.Join(shown, ",")
	case "comment":
		return g.Comment
	}
	return nil
}

func (u *user) id() script.ID { return itemID(u.ID) }

func (u *user) value(name string) script.Value {
	switch name {
	case "name":
		return u.Name
	case "group":
		return u.Group
	case "address":
		return u.Address
	case "comment":
		return u.Comment
	}
	return nil
}

func (k *userKey) id() script.ID { return itemID(k.ID) }

func (k *userKey) value(name string) script.Value {
	kind, _, _ := strings.Cut(k.Key, " ")
	switch name {
	case "user":
		return k.User
	case "key-type":
		return strings.TrimPrefix(kind, "ssh-")
	case "comment":
		return k.Comment
	}
	return nil
}

func rowsFrom[T row](items []T) []row {
	rows := make([]row, len(items))
	for i, item := range items {
		rows[i] = item
	}
	return rows
}

func (a *Array) accountTables() []*table {
	return []*table{
		{path: "/user", properties: []property{{"comment", styleText}, {"name", styleText}, {"group", styleWord}, {"address", styleText}},
			brief: []string{"name", "group", "address"}, key: "name", rows: func() []row { return rowsFrom(a.header.Users) }},
		{path: "/user/group", properties: []property{{"comment", styleText}, {"name", styleText}, {"policy", styleWord}},
			brief: []string{"name", "policy"}, key: "name", rows: func() []row { return rowsFrom(a.header.Groups) }},
		{path: "/user/ssh-keys", properties: []property{{"comment", styleText}, {"user", styleWord}, {"key-type", styleWord}},
			brief: []string{"user", "key-type"}, key: "user", rows: func() []row { return rowsFrom(a.header.Keys) }},
	}
}

// groupAdd: a policy that is not named is not given (facts/routeros.md §5).
func (a *Array) groupAdd(call *script.Call) (script.Value, error) {
	g := &userGroup{Name: script.Text(call.Args["name"]), Comment: script.Text(call.Args["comment"])}
	if g.Name == "" {
		return nil, script.Errorf("missing value(s) of argument(s) name")
	}
	if a.groupNamed(g.Name) != nil {
		return nil, script.Errorf("failure: group with the same name already exists") // assumed
	}
	if err := g.give(call); err != nil {
		return nil, err
	}
	g.ID = a.header.nextAccount()
	a.header.Groups = append(a.header.Groups, g)
	return g.id(), nil
}

func (a *Array) groupSet(call *script.Call) (script.Value, error) {
	rows, err := a.tables["/user/group"].named(call, "numbers")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if err := r.(*userGroup).give(call); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (g *userGroup) give(call *script.Call) error {
	given, ok := call.Args["policy"]
	if !ok {
		return nil
	}
	var policy []string
	for _, p := range references(given) {
		name, no := strings.CutPrefix(p, "!")
		if !slices.Contains(policies, name) {
			return script.Errorf("input does not match any value of policy")
		}
		if !no {
			policy = append(policy, name)
		}
	}
	g.Policy = policy
	return nil
}

func (a *Array) userAdd(call *script.Call) (script.Value, error) {
	u := &user{Name: script.Text(call.Args["name"]), Group: script.Text(call.Args["group"]),
		Address: script.Text(call.Args["address"]), Comment: script.Text(call.Args["comment"])}
	if u.Name == "" || u.Group == "" {
		return nil, script.Errorf("missing value(s) of argument(s) name group")
	}
	if a.groupNamed(u.Group) == nil {
		return nil, script.Errorf("input does not match any value of group")
	}
	if a.userNamed(u.Name) != nil {
		return nil, script.Errorf("failure: user with the same name already exists") // assumed
	}
	for text := range strings.SplitSeq(u.Address, ",") {
		if _, ok := parsePrefix(text); !ok && u.Address != "" {
			return nil, script.Errorf("invalid value for argument address")
		}
	}
	u.ID = a.header.nextAccount()
	a.header.Users = append(a.header.Users, u)
	return u.id(), nil
}

func (a *Array) userRemove(call *script.Call) (script.Value, error) {
	rows, err := a.tables["/user"].named(call, "numbers")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		gone := r.(*user)
		a.header.Users = slices.DeleteFunc(a.header.Users, func(u *user) bool { return u == gone })
		a.header.Keys = slices.DeleteFunc(a.header.Keys, func(k *userKey) bool { return k.User == gone.Name })
	}
	return nil, nil
}

// keyAdd takes what RouterOS takes: RSA and Ed25519 (facts/routeros.md §5).
func (a *Array) keyAdd(call *script.Call) (script.Value, error) {
	k := &userKey{User: script.Text(call.Args["user"]), Key: script.Text(call.Args["key"])}
	if a.userNamed(k.User) == nil {
		return nil, script.Errorf("input does not match any value of user")
	}
	key, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(k.Key))
	if err != nil || key.Type() != ssh.KeyAlgoED25519 && key.Type() != ssh.KeyAlgoRSA {
		return nil, script.Errorf("unable to load key file (wrong format or bad passphrase)!")
	}
	k.ID, k.Comment = a.header.nextAccount(), comment
	a.header.Keys = append(a.header.Keys, k)
	return k.id(), nil
}
