package rdssim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Each policy lets through what it is for, and nothing else (facts/routeros.md §5).
func TestPolicies(t *testing.T) {
	const denied = "not enough permissions (9)\r\n"
	commands := map[string][]string{
		`:put [:len [/disk find]]`:                               {"read"},
		`:put [/disk get storage-pool slot]`:                     {"read"},
		`/system/resource/print`:                                 {"read", "test"},
		`:put [/system/resource get version]`:                    {"read", "test"},
		`/disk/monitor-traffic storage-pool once`:                {"read", "test"},
		`/file/add name=storage-pool/new type=directory`:         {"write"},
		`/disk/settings/set auto-smb-sharing=no`:                 {"write"},
		`/user/add name=other group=read`:                        {"write", "policy"},
		`/user/group/set csi policy=ssh,read,write,policy,test`:  {"write", "policy"},
		`/user/ssh-keys/add user=csi key="ssh-ed25519 AAAA"`:     {"write", "policy"},
		`:put [/user/group get csi name]`:                        {"read"},
		`/file/remove [/file find where name=storage-pool/none]`: {"read", "write"},
	}
	for command, needed := range commands {
		t.Run(command, func(t *testing.T) {
			for _, missing := range append([]string{""}, needed...) {
				a := start(t, Options{})
				quiet(t, a, "/user/group/set csi policy="+strings.Join(append(without(needed, missing), "ssh"), ","))
				out, _ := remote(dial(t, a), command)
				if (out == denied) != (missing != "") {
					t.Errorf("without %q: %q", missing, out)
				}
			}
		})
	}
}

func TestOnlyUsersWithKeyPolicyAndAddressLogIn(t *testing.T) {
	for name, tt := range map[string]struct {
		lines []string
		want  bool
	}{
		"the user of the options":  {nil, true},
		"no policy ssh":            {[]string{"/user/group/set csi policy=read,write,test"}, false},
		"removed":                  {[]string{"/user/remove csi"}, false},
		"another address":          {[]string{"/user/remove csi", "/user/add name=csi group=full address=10.0.0.0/24"}, false},
		"one of several addresses": {[]string{"/user/remove csi", "/user/add name=csi group=full address=10.0.0.1,127.0.0.0/8"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := start(t, Options{})
			quiet(t, a, tt.lines...)
			client, err := tryDial(t, a)
			if err == nil {
				defer client.Close()
			}
			if (err == nil) != tt.want {
				t.Errorf("login: %v", err)
			}
		})
	}
}

// Users, groups, keys and settings are there after a restart; the key of the console's own is one of them.
func TestAccountsOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	a := start(t, Options{Dir: dir, User: "someone"})
	public, err := os.ReadFile(a.ClientKeyFile() + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	quiet(t, a, `/user/group/add name=g policy=ssh,read`, `/user/add name=csi group=g`,
		`/user/ssh-keys/add user=csi key="`+strings.TrimSpace(string(public))+`"`, `/disk/settings/set auto-media-sharing=no`)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b := start(t, Options{Dir: dir, User: "someone"})
	if out, err := remote(dial(t, b), `:put [/user get csi group]; :put [/disk/settings get auto-media-sharing]; :put [/disk/settings get auto-smb-sharing]`); out != "g\r\nfalse\r\ntrue\r\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestAccountsThatAreRefused(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, Options{})
	for line, want := range map[string]string{
		`/user/group/add name=csi`:                           "failure: group with the same name already exists",
		`/user/group/add name=x policy=everything`:           "input does not match any value of policy",
		`/user/add name=x group=none`:                        "input does not match any value of group",
		`/user/add name=csi group=read`:                      "failure: user with the same name already exists",
		`/user/add name=x group=read address=nowhere`:        "invalid value for argument address",
		`/user/ssh-keys/add user=none key="ssh-ed25519 AA"`:  "input does not match any value of user",
		`/user/ssh-keys/add user=csi key="ssh-ed25519 AAA!"`: "unable to load key file (wrong format or bad passphrase)!",
		`/user/ssh-keys/add user=csi key="` + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))) + `"`: "unable to load key file (wrong format or bad passphrase)!",
		`/disk/settings/set auto-smb-sharing=maybe`:                                                             "input does not match any value of auto-smb-sharing",
	} {
		say(t, a, line, want+"\r\n")
	}
}

func TestGroupsListWhatTheyLack(t *testing.T) {
	a := start(t, Options{})
	quiet(t, a, `/user/group/add name=g policy=ssh,read`)
	if out := a.Run(t.Context(), `:put [/user/group get g policy]`); !strings.HasPrefix(out, "ssh,read,!local,!telnet,!ftp,") {
		t.Errorf("%q", out)
	}
}

func TestPackages(t *testing.T) {
	a := start(t, Options{})
	say(t, a, `:put [:len [/system/package find where name="rose-storage"]]`, "1\r\n")
	b := start(t, Options{Differences: []Difference{NoRose}})
	say(t, b, `:put [:len [/system/package find where name="rose-storage"]]`, "0\r\n")
	if out := b.Run(t.Context(), `/disk/set storage-pool nvme-tcp-export=yes`); !strings.HasPrefix(out, "bad parameter nvme-tcp-export") {
		t.Errorf("%q", out)
	}
	if _, err := (Options{Dir: "x", Differences: []Difference{"else"}}).complete(); err == nil {
		t.Error("a difference that is none is accepted")
	}
}
