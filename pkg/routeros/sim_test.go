package routeros_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

func simulate(t testing.TB, options rdssim.Options) *rdssim.Array {
	t.Helper()
	options.Dir = t.TempDir()
	array, err := rdssim.Start(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := array.Close(); err != nil {
			t.Error(err)
		}
	})
	return array
}

func connect(t testing.TB, array *rdssim.Array, change ...func(*routeros.Config)) *routeros.Client {
	t.Helper()
	config := routeros.Config{Address: array.SSHAddr(), User: "csi", KeyFile: array.ClientKeyFile(), HostKey: array.HostKeyFile()}
	for _, f := range change {
		f(&config)
	}
	client, err := routeros.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

const asJSON = "[:serialize to=json options=json.no-string-conversion value="

// pick prints a value as text and as JSON.
func pick(value string) routeros.Body {
	return func(put routeros.Put) string {
		return put("text", routeros.Quote(value)) + "; " + put("json", asJSON+routeros.Quote(value)+"]")
	}
}

func TestSimulatedArrayAnswers(t *testing.T) {
	client := connect(t, simulate(t, rdssim.Options{HostKeyType: "rsa"}))
	r, err := client.Run(t.Context(), telemetry.CommandPoolGet, func(put routeros.Put) string {
		return put("n", "[:len [/disk find]]") + "; " + put("pool", asJSON+`[/disk print detail as-value where mount-point="storage-pool"]]`)
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := r.Rows("pool")
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d pools, %v", len(rows), err)
	}
	if size, err := rows[0].Bytes("size"); size == 0 || err != nil || rows[0].String("fs") != "btrfs" {
		t.Errorf("size %d, %v, fs %q", size, err, rows[0].String("fs"))
	}
	if n, err := r.Int("n"); n < 1 || err != nil {
		t.Errorf("n = %d, %v", n, err)
	}
	if !strings.HasPrefix(r.Version, "7.24.4") || r.Board != "rds-sim" {
		t.Errorf("version %q, board %q", r.Version, r.Board)
	}
}

func TestQuotedValuesRoundTripOverSSH(t *testing.T) {
	client := connect(t, simulate(t, rdssim.Options{}))
	values := []string{
		"", " ", "plain", `"; /disk remove [find]; :put "`, `\`, `\\"`, "$board", "$[/system/reboot]", "$(1+1)", "a;b{c}d[e](f)?", "\t", "  padded  ",
		"@@", "ok=1", "end=1", "err=x", strings.Repeat("long ", 500), "\x00\x01\x7f", "rds-csi cluster=a -- held",
	}
	for _, value := range values {
		r, err := client.Run(t.Context(), telemetry.CommandDiskGet, pick(value))
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		if got, _ := r.Value("text"); got != value {
			t.Errorf("%q came back as %q", value, got)
		}
		text, _ := r.Value("json")
		var got string
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != value {
			t.Errorf("%q came back in JSON as %q, %v", value, got, err)
		}
	}
}

// What the client quotes, the simulator's parser, which shares no code with it, reads back.
func FuzzQuoteOnTheSimulator(f *testing.F) {
	array := simulate(f, rdssim.Options{})
	for _, s := range []string{"", `"`, `\`, "$x", "$[:error 1]", "a\nb", "\r", "\t", "é", `\0A`, "}", "]", ";", "@@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		out := array.Run(t.Context(), `:put ("<" . `+routeros.Quote(value)+` . ">"); :put [:len `+routeros.Quote(value)+`]`)
		if want := fmt.Sprintf("%d", len(value)); !strings.HasSuffix(strings.TrimRight(out, " \r\n"), want) {
			t.Fatalf("%q has another length there: %q", value, out)
		}
		if strings.ContainsAny(value, "\r\n\t") {
			return // the console prints these in its own way
		}
		if !strings.HasPrefix(out, "<"+value+">") {
			t.Fatalf("%q came back as %q", value, out)
		}
	})
}

func TestParallelRunsOnTheSimulator(t *testing.T) {
	for _, sessions := range []int{1, 3} {
		t.Run(strconv.Itoa(sessions), func(t *testing.T) {
			client := connect(t, simulate(t, rdssim.Options{Latency: time.Millisecond}), func(c *routeros.Config) { c.Sessions = sessions })
			var group sync.WaitGroup
			for i := range 100 {
				group.Go(func() {
					value := "caller " + strconv.Itoa(i)
					r, err := client.Run(t.Context(), telemetry.CommandDiskGet, pick(value))
					if err != nil {
						t.Error(err)
						return
					}
					if got, _ := r.Value("text"); got != value {
						t.Errorf("%s got the reply of %q", value, got)
					}
				})
			}
			group.Wait()
		})
	}
}

// add makes a file disk in slot, as long as there is none.
func add(slot string) routeros.Body {
	return func(put routeros.Put) string {
		return "/disk add type=file slot=" + routeros.Quote(slot) + ` file-path="/storage-pool/` + slot + `.img" file-size=1048576; ` +
			put("n", "[:len [/disk find where slot="+routeros.Quote(slot)+"]]")
	}
}

func TestFaultsOfTheSimulator(t *testing.T) {
	tests := []struct {
		kind  rdssim.FaultKind
		want  fault.Reason
		there bool // the disk was made all the same
	}{
		{rdssim.DropBefore, fault.RouterOSLostReply, false},
		{rdssim.DropAfter, fault.RouterOSLostReply, true},
		{rdssim.HalfReply, fault.RouterOSLostReply, true},
		{rdssim.Garble, fault.RouterOSLostReply, true},
		{rdssim.Hang, fault.RouterOSLostReply, false},
		{rdssim.NoSpace, fault.ReasonNoSpace, false},
		{rdssim.RefuseSession, fault.SSHUnreachable, false},
		{rdssim.AuthRefused, fault.SSHAuth, false},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind), func(t *testing.T) {
			array := simulate(t, rdssim.Options{Seed: 1})
			client := connect(t, array, func(c *routeros.Config) { c.ExecTimeout = 500 * time.Millisecond })
			if err := array.Inject(rdssim.Fault{Kind: tt.kind}); err != nil {
				t.Fatal(err)
			}
			_, err := client.Run(t.Context(), telemetry.CommandDiskAdd, add("csi-1"))
			if fault.ReasonOf(err) != tt.want {
				t.Fatalf("reason %s, want %s: %v", fault.ReasonOf(err), tt.want, err)
			}
			if n := disks(t, client, "csi-1"); (n == 1) != tt.there {
				t.Errorf("%d disks after %v", n, err)
			}
		})
	}
}

// disks looks until the array answers, as a back-off may be running.
func disks(t *testing.T, client *routeros.Client, slot string) int {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		r, err := client.Run(t.Context(), telemetry.CommandDiskGet, func(put routeros.Put) string {
			return put("n", "[:len [/disk find where slot="+routeros.Quote(slot)+"]]")
		})
		if err == nil {
			n, err := r.Int("n")
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestConsoleErrorsOfTheSimulator(t *testing.T) {
	client := connect(t, simulate(t, rdssim.Options{}))
	old := connect(t, simulate(t, rdssim.Options{Version: "7.20.8"}))
	tests := []struct {
		name   string
		client *routeros.Client
		text   string
		want   fault.Reason
		part   string
	}{
		{"syntax", client, `:if (`, fault.RouterOSRejected, "7.21 or newer"},
		{"unknown menu", client, `/diskette print`, fault.RouterOSRejected, "7.21 or newer"},
		{"property of a later release", old, `/disk set [find] nvme-tcp-server-nqn="x"`, fault.RouterOSRejected, "RouterOS 7.20.8"},
		{"raised by the script", client, `:error "leftover file"`, fault.RouterOSRejected, "leftover file"},
		{"stale id", client, `/disk set *FFFF comment="x"`, fault.ReasonNotFound, "no such item"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := tt.client.Run(t.Context(), telemetry.CommandDiskGet, func(put routeros.Put) string {
				return put("before", "1") + "; " + tt.text
			})
			if fault.ReasonOf(err) != tt.want || !strings.Contains(err.Error(), tt.part) {
				t.Errorf("reason %s of %v, want %s and %q", fault.ReasonOf(err), err, tt.want, tt.part)
			}
			if r == nil || r.Version == "" {
				t.Error("no version beside the error")
			}
		})
	}
}

func TestRebootOfTheSimulator(t *testing.T) {
	array := simulate(t, rdssim.Options{})
	client := connect(t, array)
	if n := disks(t, client, "csi-1"); n != 0 {
		t.Fatalf("%d disks", n)
	}
	array.Reboot(50 * time.Millisecond)
	if n := disks(t, client, "csi-1"); n != 0 {
		t.Errorf("%d disks after the reboot", n)
	}
}
