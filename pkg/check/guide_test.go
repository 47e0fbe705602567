package check_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

// pasted is the guide's script with this test's key and network.
func pasted(t *testing.T, public string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/guides/prepare-the-array.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "```routeros\n/disk/settings/set")
	script, _, closed := strings.Cut("/disk/settings/set"+rest, "```")
	for placeholder, value := range map[string]string{"10.0.0.0/24": "127.0.0.0/8", "ssh-ed25519 AAAA... csi": public} {
		if !strings.Contains(script, placeholder) {
			t.Fatalf("the script has no %s", placeholder)
		}
		script = strings.ReplaceAll(script, placeholder, value)
	}
	lines := strings.Split(strings.TrimSpace(script), "\n")
	if !found || !closed || len(lines) < 5 {
		t.Fatalf("the guide has no script: %q", lines)
	}
	return lines
}

func newKey(t *testing.T) (file, public string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "csi")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "csi")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))) + " csi"
}

// prepared is an array on which an administrator has pasted the guide's script.
func prepared(t *testing.T, change func(line string) string) *rig {
	t.Helper()
	r := newRigOf(t, rdssim.Options{User: "somebody-else"})
	key, public := newKey(t)
	for _, line := range pasted(t, public) {
		out := r.sim.Run(t.Context(), change(line))
		if shows := strings.Contains(line, "/print"); shows != (out != "") || shows && !strings.Contains(out, "csi") && !strings.Contains(out, pool) {
			t.Errorf("%s answers %q", line, out)
		}
	}
	console, err := routeros.New(routeros.Config{Address: r.sim.SSHAddr(), User: "csi", KeyFile: key, HostKey: r.sim.HostKeyFingerprint()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := console.Close(); err != nil {
			t.Error(err)
		}
	})
	r.config.Array = rds.New(rds.Config{Console: console, Cluster: "c1", Pool: pool, Port: 4420, HostACL: true})
	return r
}

// The user that the guide makes can do all that the driver does, and check finds nothing to say.
func TestTheGuidesScriptMakesAUserThatSuffices(t *testing.T) {
	r := prepared(t, func(line string) string { return line })
	result, out := r.trying(true).run(t)
	if !result.OK() || strings.Contains(out, "  warning") {
		t.Errorf("after the guide:\n%s", out)
	}
	a, ctx := r.config.Array, t.Context()
	v, _, err := a.Create(ctx, rds.CreateRequest{Name: "a", Size: rds.Size{Required: gib}})
	if err != nil {
		t.Fatal(err)
	}
	node := rds.Node{ID: "n/6ba7b810-9dad-11d1-80b4-00c04fd430c8", HostNQN: "nqn.2014-08.org.nvmexpress:uuid:n"}
	_, published := a.Publish(ctx, rds.PublishRequest{Slot: v.Slot, Node: node, Mode: rds.ModeMount})
	_, _, grown := a.Grow(ctx, v.Slot, rds.Size{Required: 2 * gib})
	_, unpublished := a.Unpublish(ctx, v.Slot, node)
	_, listed := a.List(ctx)
	_, deleted := a.Delete(ctx, v.Slot)
	for _, err := range []error{published, grown, unpublished, listed, deleted} {
		if err != nil {
			t.Error(err)
		}
	}
}

// None of the script's policies can be left out.
func TestEveryPolicyOfTheGuideIsNeeded(t *testing.T) {
	for _, policy := range []string{"ssh", "read", "write", "test"} {
		t.Run(policy, func(t *testing.T) {
			changed := false
			r := prepared(t, func(line string) string {
				before, list, is := strings.Cut(line, "policy=")
				if !is {
					return line
				}
				left := slices.DeleteFunc(strings.Split(list, ","), func(p string) bool { return p == policy })
				changed = len(left) == 3
				return before + "policy=" + strings.Join(left, ",")
			})
			result, out := r.trying(false).run(t)
			if !changed || result.OK() || !strings.Contains(out, "the policy "+policy) {
				t.Errorf("without %s (%t):\n%s", policy, changed, out)
			}
		})
	}
}
