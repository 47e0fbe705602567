package nvme

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
)

// stalled is a kernel whose writes wait to be let through one by one.
type stalled struct {
	mu    sync.Mutex
	order []string
	let   chan struct{}
}

func (s *stalled) Options() (string, error) {
	return "instance=-1,cntlid=-1," + strings.Join(oldOptions, "=%s,"), nil
}

func (s *stalled) Create(options string) (string, error) {
	s.mu.Lock()
	s.order = append(s.order, options)
	s.mu.Unlock()
	<-s.let
	return "", errors.New("refused")
}

func TestConnectsAreServedInTheOrderTheyCame(t *testing.T) {
	sys := t.TempDir()
	if err := os.Mkdir(sys+"/class", 0o755); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		kernel := &stalled{let: make(chan struct{})}
		h := &Host{fabrics: kernel, turn: semaphore.NewWeighted(1), tree: tree{sys: sys, attrs: host.Attributes{}}}
		portal := Portal{Address: "192.0.2.1", Port: 4420}
		const n = 8
		for i := range n {
			go func() {
				a, err := h.request(t.Context(), Target{NQN: fmt.Sprintf("nqn.test:v%d", i), HostNQN: "nqn.test:h", HostID: "x"}, portal)
				if err != nil {
					t.Error(err)
					return
				}
				<-a.written
				h.attempts.leave(a, false)
			}()
			synctest.Wait() // it stands in the queue before the next comes
		}
		for i := range n {
			kernel.let <- struct{}{}
			synctest.Wait()
			if got := min(i+2, n); len(kernel.order) != got {
				t.Fatalf("%d writes after %d answers, want %d", len(kernel.order), i+1, got)
			}
		}
		for i, options := range kernel.order {
			if !strings.Contains(options, fmt.Sprintf("nqn=nqn.test:v%d,", i)) {
				t.Errorf("write %d was %q", i, options)
			}
		}
		if len(h.attempts.byKey) > 0 {
			t.Errorf("attempts are left: %v", h.attempts.byKey)
		}
	})
}

func TestPollPaceAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		looks, err := poll(t.Context(), nil, func() error {
			if at = append(at, time.Since(start)); len(at) == 6 {
				return nil
			}
			return errNoDisk
		})
		ms := time.Millisecond
		if want := []time.Duration{0, 20 * ms, 60 * ms, 140 * ms, 240 * ms, 340 * ms}; err != nil || looks != 6 || !slices.Equal(at, want) {
			t.Errorf("%d looks at %v, %v; want %v", looks, at, err, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := poll(ctx, nil, func() error { return errNoDisk })
		if !errors.Is(err, errNoDisk) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v does not say both why and when", err)
		}
		_, err = poll(t.Context(), nil, func() error { return errStop{errNoDisk} })
		if err != errNoDisk {
			t.Errorf("a final error came back as %v", err)
		}
	})
}

func TestPollLooksAtEachWakeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{}, 1)
		start := time.Now()
		go func() {
			time.Sleep(5 * time.Millisecond) // bubble time
			wake <- struct{}{}
		}()
		looks, err := poll(t.Context(), wake, func() error {
			if time.Since(start) < 5*time.Millisecond {
				return errNoDisk
			}
			return nil
		})
		if err != nil || looks != 2 || time.Since(start) != 5*time.Millisecond {
			t.Errorf("%d looks, %v after %v", looks, err, time.Since(start))
		}
	})
}

func TestFlightsRunOncePerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights[int]
		land := make(chan struct{})
		runs := 0
		call := func() (int, error) { runs++; <-land; return runs, nil }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.do(ctx, "k", call); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first call: %v", err)
		}
		go func() {
			time.Sleep(time.Second) // bubble time: the second call waits by then
			close(land)
		}()
		if n, err := f.do(t.Context(), "k", call); n != 1 || err != nil {
			t.Errorf("the second call: %d, %v; want to share the first's run", n, err)
		}
		synctest.Wait()
		if n, err := f.do(t.Context(), "k", call); n != 2 || err != nil {
			t.Errorf("the third call: %d, %v", n, err)
		}
	})
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]Portal{
		"traddr=192.0.2.7,trsvcid=4420":                        {"192.0.2.7", 4420},
		"traddr=192.0.2.7,trsvcid=4420,src_addr=192.0.2.9":     {"192.0.2.7", 4420},
		"traddr=192.0.2.7 trsvcid=4420 host_traddr=192.0.2.9":  {"192.0.2.7", 4420},
		"traddr=2001:db8::1,trsvcid=4421,src_addr=2001:db8::2": {"2001:db8::1", 4421},
		"traddr=192.0.2.7,trsvcid=99999":                       {"192.0.2.7", 0},
		"":                                                     {},
	} {
		if got := parseAddress(text); got != want {
			t.Errorf("%q is %+v, want %+v", text, got, want)
		}
	}
	if !(Portal{"2001:db8:0::1", 1}).same(Portal{"2001:db8::1", 1}) || (Portal{"", 1}).same(Portal{"", 1}) {
		t.Error("addresses are not compared by value")
	}
}

func FuzzParseOptionList(f *testing.F) {
	f.Add("instance=-1,cntlid=-1,transport=%s,traddr=%s,duplicate_connect,tos=%d\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		for _, key := range parseOptionList(text) {
			if key == "" || key == "instance" || key == "cntlid" || strings.ContainsAny(key, ",=") {
				t.Errorf("%q gave the option %q", text, key)
			}
		}
	})
}

func FuzzParseInstance(f *testing.F) {
	f.Add("instance=0,cntlid=1\n")
	f.Add("cntlid=1,instance=17")
	f.Add("instance=-1,cntlid=-1")
	f.Fuzz(func(t *testing.T, text string) {
		name, err := parseInstance(text)
		if err == nil && !controllerName.MatchString(name) {
			t.Errorf("%q gave %q", text, name)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	f.Add("traddr=192.0.2.7,trsvcid=4420,src_addr=192.0.2.9")
	f.Fuzz(func(t *testing.T, text string) {
		if p := parseAddress(text); p.Port < 0 || p.Port > 65535 || strings.ContainsAny(p.Address, ", \n") {
			t.Errorf("%q gave %+v", text, p)
		}
	})
}

// A controller's name can go to another one while we wait.
func TestIdentifiedRefusesAnotherController(t *testing.T) {
	sys := t.TempDir()
	dir := sys + "/class/nvme/nvme0"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"transport": "tcp", "subsysnqn": "nqn.test:v", "hostnqn": "nqn.test:h", "hostid": "x", "state": "live", "address": "traddr=192.0.2.1,trsvcid=4420",
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := &Host{tree: tree{sys: sys, attrs: host.Attributes{}}}
	portal := Portal{Address: "192.0.2.1", Port: 4420}
	for _, tt := range []struct {
		nqn, hostNQN string
		portal       Portal
		same         bool
	}{
		{"nqn.test:v", "nqn.test:h", portal, true},
		{"nqn.test:v1", "nqn.test:h", portal, false},
		{"nqn.test:v", "nqn.test:h1", portal, false},
		{"nqn.test:v", "nqn.test:h", Portal{Address: "192.0.2.2", Port: 4420}, false},
		{"nqn.test:v", "nqn.test:h", Portal{Address: "192.0.2.1", Port: 4421}, false},
	} {
		_, err := h.identified(Target{NQN: tt.nqn, HostNQN: tt.hostNQN}, tt.portal, "nvme0")
		if _, final := errors.AsType[errStop](err); (err == nil) != tt.same || (err != nil) != final {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
