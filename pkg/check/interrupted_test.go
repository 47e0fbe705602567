package check_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/check"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// meddler is a console with which something happens before and after the number-th command.
type meddler struct {
	rds.Console
	runs, number  int
	before, after func()
}

func (m *meddler) Run(ctx context.Context, command telemetry.Command, body routeros.Body) (*routeros.Reply, error) {
	m.runs++
	if m.runs == m.number && m.before != nil {
		m.before()
	}
	reply, err := m.Console.Run(ctx, command, body)
	if m.runs == m.number && m.after != nil {
		m.after()
	}
	return reply, err
}

// meddle replaces the array's console and tells how many commands a whole run has.
func (r *rig) meddle(t *testing.T, m *meddler) {
	t.Helper()
	m.Console = r.console(t, "csi", r.sim.ClientKeyFile())
	r.config.Array = rds.New(rds.Config{Console: m, Pool: pool, Port: 4420, HostACL: true})
}

func commandsOfARun(t *testing.T) int {
	t.Helper()
	r, m := newRig(t).trying(true), &meddler{}
	r.meddle(t, m)
	if result, out := r.run(t); !result.OK() || m.runs < 12 {
		t.Fatalf("%d commands:\n%s", m.runs, out)
	}
	return m.runs
}

// Ctrl-C before and after each command: nothing is left, and it is said that not all was done.
func TestCtrlCLeavesNothing(t *testing.T) {
	for number := 1; number <= commandsOfARun(t)-1; number++ {
		for when, set := range map[string]func(m *meddler, cancel func()){
			"before": func(m *meddler, cancel func()) { m.before = cancel },
			"after":  func(m *meddler, cancel func()) { m.after = cancel },
		} {
			t.Run(fmt.Sprintf("%s %d", when, number), func(t *testing.T) {
				t.Parallel()
				r := newRig(t).crowded(t).trying(true)
				before := r.state(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				m := &meddler{number: number}
				set(m, cancel)
				r.meddle(t, m)
				var out strings.Builder
				result := check.Run(ctx, r.config, &out)
				if result.OK() || !strings.Contains(out.String(), "interrupted") {
					t.Errorf("it does not say so:\n%s", &out)
				}
				if after := r.state(t); after != before || r.host.left() != 0 {
					t.Errorf("left behind, sessions %d:\n%s\n%s", r.host.left(), after, &out)
				}
			})
		}
	}
}

// Whatever happens to the connection, at whichever command: nothing is left.
func TestNoFaultLeavesAnything(t *testing.T) {
	commands := commandsOfARun(t)
	for _, kind := range []rdssim.FaultKind{rdssim.DropBefore, rdssim.DropAfter, rdssim.HalfReply, rdssim.Garble, rdssim.RefuseSession, rdssim.NoSpace} {
		for number := 1; number <= commands; number++ {
			t.Run(fmt.Sprintf("%s %d", kind, number), func(t *testing.T) {
				t.Parallel()
				r := newRig(t).crowded(t).trying(true)
				before := r.state(t)
				m := &meddler{number: number, before: func() {
					if err := r.sim.Inject(rdssim.Fault{Kind: kind}); err != nil {
						t.Error(err)
					}
				}}
				r.meddle(t, m)
				var out strings.Builder
				check.Run(t.Context(), r.config, &out)
				if m.runs < number {
					t.Fatalf("only %d commands: the fault did not strike\n%s", m.runs, &out)
				}
				if after := r.state(t); after != before || r.host.left() != 0 {
					t.Errorf("left behind, sessions %d:\n%s\n%s", r.host.left(), after, &out)
				}
			})
		}
	}
}

// An array that answers nothing any more is told, with the commands that remove the rest by hand.
func TestWhatCannotBeRemovedIsNamed(t *testing.T) {
	r := newRig(t).trying(false)
	r.config.Trial.Patience = 200 * time.Millisecond
	m := &meddler{}
	r.meddle(t, m)
	if err := r.sim.Inject(rdssim.Fault{Kind: rdssim.DropBefore, Match: "/disk remove", Count: -1}); err != nil {
		t.Fatal(err)
	}
	result := check.Run(t.Context(), r.config, io.Discard)
	if result.OK() {
		t.Error("nothing failed")
	}
	mustSay(t, result.Report(), "failed   clean-up: the scratch volume may be left", "/disk print where slot=rds-csi-check-0a1b2c3d", "storage-pool/rds-csi-check-0a1b2c3d")
}
