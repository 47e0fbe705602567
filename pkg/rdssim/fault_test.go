package rdssim

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func inject(t *testing.T, a *Array, faults ...Fault) {
	t.Helper()
	for _, f := range faults {
		if err := a.Inject(f); err != nil {
			t.Fatal(err)
		}
	}
}

func comment(t *testing.T, a *Array, slot string) string {
	t.Helper()
	for _, item := range a.Items() {
		if item.Slot == slot {
			return item.Comment
		}
	}
	t.Fatalf("no item %s", slot)
	return ""
}

func TestDroppedConnections(t *testing.T) {
	a := start(t, Options{})
	for kind, want := range map[FaultKind]string{DropBefore: "", DropAfter: "done"} {
		slot := strings.ReplaceAll(string(kind), "_", "-")
		volume(t, a, slot)
		inject(t, a, Fault{Kind: kind, Match: slot})
		client := dial(t, a)
		if out, err := remote(client, `:put unrelated`); err != nil || out != "unrelated\r\n" {
			t.Errorf("an exec the fault does not match: %q, %v", out, err)
		}
		if out, err := remote(client, `/disk set `+slot+` comment=done`); err == nil || out != "" {
			t.Errorf("%s: answered %q", kind, out)
		}
		if got := comment(t, a, slot); got != want {
			t.Errorf("%s: comment %q, want %q", kind, got, want)
		}
		if !ends(client) {
			t.Errorf("%s: the connection lives", kind)
		}
		if out, err := remote(dial(t, a), `:put `+slot); err != nil || out != slot+"\r\n" {
			t.Errorf("%s struck twice: %q, %v", kind, out, err)
		}
	}
}

// ends waits for the end of a connection. A session that is asked for at that very moment would wait for ever:
// x/crypto/ssh forgets a channel that is opened after its loop has ended.
func ends(client *ssh.Client) bool {
	ended := make(chan struct{})
	go func() {
		_ = client.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return true
	case <-time.After(10 * time.Second):
		return false // the test's end closes it
	}
}

func TestDamagedReplies(t *testing.T) {
	a := start(t, Options{})
	client := dial(t, a)
	text := ":put " + strings.Repeat("x", 300)
	inject(t, a, Fault{Kind: HalfReply})
	if out, err := remote(client, text); err != nil || out != strings.Repeat("x", 151) {
		t.Errorf("half: %q, %v", out, err)
	}
	inject(t, a, Fault{Kind: Garble})
	out, err := remote(client, text)
	if err != nil || len(out) != 302 || strings.Count(out, "x") > 280 || strings.Count(out, "x") < 100 {
		t.Errorf("garbled: %q, %v", out, err)
	}
	if out, err := remote(client, text); err != nil || len(strings.Trim(out, "x")) != 2 {
		t.Errorf("afterwards: %q, %v", out, err)
	}
	if log := a.Transcript(); !strings.HasSuffix(log[0].Output, "x\r\n") {
		t.Error("the transcript has the damaged reply")
	}
}

func TestHangNeitherAnswersNorApplies(t *testing.T) {
	a := start(t, Options{})
	volume(t, a, "one")
	inject(t, a, Fault{Kind: Hang})
	client := dial(t, a)
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { answered <- session.Run(`/disk set one comment=x`) }()
	eventually(t, "the exec has come", func() bool { return a.Execs() == 1 })
	// The connection still serves others.
	if out, err := remote(client, `:put ok`); err != nil || out != "ok\r\n" {
		t.Errorf("beside it: %q, %v", out, err)
	}
	select {
	case err := <-answered:
		t.Errorf("answered: %v", err)
	default:
	}
	_ = client.Close()
	<-answered
	if comment(t, a, "one") != "" {
		t.Error("it was carried out")
	}
}

func TestRefusals(t *testing.T) {
	a := start(t, Options{})
	inject(t, a, Fault{Kind: AuthRefused})
	if client, err := tryDial(t, a); err == nil {
		_ = client.Close()
		t.Error("the login was not refused")
	}
	client := dial(t, a)
	inject(t, a, Fault{Kind: RefuseSession, Count: 2})
	for i := range 3 {
		if _, err := remote(client, `:put ok`); (err == nil) != (i == 2) {
			t.Errorf("session %d: %v", i, err)
		}
	}
}

func TestInjectedENOSPC(t *testing.T) {
	a := start(t, Options{})
	volume(t, a, "one")
	client := dial(t, a)
	inject(t, a, Fault{Kind: NoSpace, Match: "file-size", Count: -1})
	for _, text := range []string{`/disk add type=file slot=x file-path=storage-pool/x.img file-size=1M`, `/disk set one file-size=2G`} {
		if out, _ := remote(client, text); out != "failure: not enough space on disk\r\n" {
			t.Errorf("%s: %q", text, out)
		}
	}
	a.ClearFaults()
	if out, err := remote(client, `/disk set one file-size=2G`); err != nil || out != "" {
		t.Errorf("after clearing: %q, %v", out, err)
	}
}

func TestDelay(t *testing.T) {
	a := start(t, Options{})
	client := dial(t, a)
	inject(t, a, Fault{Kind: Delay, Delay: 30 * time.Millisecond})
	began := time.Now()
	if out, err := remote(client, `:put ok`); err != nil || out != "ok\r\n" || time.Since(began) < 30*time.Millisecond {
		t.Errorf("%q, %v after %v", out, err, time.Since(began))
	}
}

func TestUnknownFaultsAreRefused(t *testing.T) {
	a := start(t, Options{})
	if err := a.Inject(Fault{Kind: "explode"}); err == nil {
		t.Error("armed")
	}
	var f Fault
	if err := json.Unmarshal([]byte(`{"kind":"delay","delay":"soon"}`), &f); err == nil {
		t.Error("read")
	}
}

func TestRebootBringsExportsBackLaterAndChanged(t *testing.T) {
	a := start(t, Options{})
	slots := []string{"one", "two", "three"}
	for _, slot := range slots {
		volume(t, a, slot)
		quiet(t, a, `/disk set `+slot+` nvme-tcp-export=yes nvme-tcp-server-nqn=nqn.`+slot)
	}
	client := dial(t, a)
	before := a.Items()
	inject(t, a, Fault{Kind: Reboot, Match: "reboot me", Delay: 20 * time.Millisecond})
	if _, err := remote(client, `:put "reboot me"`); err == nil {
		t.Error("answered")
	}
	if a.MayConnect("nqn.one", "h") {
		t.Error("an export survived")
	}
	var order []string
	eventually(t, "all exports are back", func() bool {
		for _, slot := range slots {
			if a.MayConnect("nqn."+slot, "h") && !slices.Contains(order, slot) {
				order = append(order, slot)
			}
		}
		return len(order) == len(slots)
	})
	eventually(t, "the array is up", func() bool { return !a.State().Down })
	for i, item := range a.Items() {
		if item.Type == "file" && item.UUID == before[i].UUID {
			t.Errorf("%s kept its namespace UUID", item.Slot)
		}
	}
	if out, err := remote(dial(t, a), `:put [:len [/disk find where nvme-tcp-export=yes]]`); err != nil || out != "3\r\n" {
		t.Errorf("afterwards %q, %v", out, err)
	}
}

func TestBootOrderIsAnotherOrder(t *testing.T) {
	a := start(t, Options{})
	volume(t, a, "one")
	volume(t, a, "two")
	quiet(t, a, `/disk set one,two nvme-tcp-export=yes`)
	a.mu.Lock()
	defer a.mu.Unlock()
	for range 20 {
		if got := a.bootOrder(); !slices.Equal(got, []int{3, 2}) {
			t.Fatalf("order %v", got)
		}
	}
}
