package guest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
)

// array is rds-sim as a program, which exports its volumes by the kernel's own target.
type array struct {
	*program.Process
	t       *testing.T
	dir     string
	flags   []string
	control string // URL of its control interface
	driver  []string
}

// startArray runs rds-sim; it keeps its volumes in dir. Later flags win.
func startArray(t *testing.T, dir string, flags ...string) *array {
	t.Helper()
	ssh := program.FreeAddress(t) // one address for all its starts
	a := &array{t: t, dir: dir, flags: append([]string{"--dir", dir, "--export", "nvmet", "--ssh-address", ssh, "--pool", "pool:btrfs:100G"}, flags...)}
	a.start()
	return a
}

// start runs it, again with the same volumes after kill or stop.
func (a *array) start() {
	a.t.Helper()
	a.Process = program.Begin(a.t, built("rds-sim"), nil, a.flags...)
	program.Await(a.t, "the array is up", func() bool { return !a.Running() || strings.Contains(a.Stdout.String(), "driver:") })
	control := regexp.MustCompile(`control: +(http://\S+)/state`).FindStringSubmatch(a.Stdout.String())
	_, driver, _ := strings.Cut(a.Stdout.String(), "rds-csi-plugin --controller ")
	if control == nil || driver == "" {
		a.t.Fatalf("rds-sim did not start: %s%s", a.Stdout, a.Stderr)
	}
	a.control, a.driver = control[1], strings.Fields(driver)
	a.t.Cleanup(a.stop) // before Begin kills it
}

// stop lets it take down its exports, unless it has ended.
func (a *array) stop() {
	a.t.Helper()
	if !a.Running() {
		return
	}
	a.Signal(a.t, syscall.SIGTERM)
	if code := a.Code(a.t); code != 0 {
		a.t.Errorf("rds-sim ended with code %d: %s", code, a.Stderr)
	}
}

// portal is where it exports.
func (a *array) portal() nvme.Portal { return nvme.Portal{Address: "127.0.0.1", Port: nvmePort} }

// reboot takes everything away for a time, see docs/reference/simulator.md. It does not wait.
func (a *array) reboot(down time.Duration) {
	a.t.Helper()
	a.call(http.MethodPost, "/reboot?"+url.Values{"down": {down.String()}}.Encode(), nil)
}

// fault arms one, such as {Kind: rdssim.DropAfter, Match: "/disk add"}.
func (a *array) fault(f rdssim.Fault) {
	a.t.Helper()
	body := map[string]any{"kind": f.Kind, "match": f.Match, "count": f.Count}
	if f.Delay > 0 {
		body["delay"] = f.Delay.String()
	}
	text, err := json.Marshal(body)
	if err != nil {
		a.t.Fatal(err)
	}
	a.call(http.MethodPost, "/faults", strings.NewReader(string(text)))
}

// noFaults disarms all.
func (a *array) noFaults() {
	a.t.Helper()
	a.call(http.MethodDelete, "/faults", nil)
}

// console runs console text and gives what it prints.
func (a *array) console(text string) string {
	a.t.Helper()
	return string(a.call(http.MethodPost, "/exec", strings.NewReader(text)))
}

// state is what an observer can know of it.
func (a *array) state() rdssim.State {
	a.t.Helper()
	var s rdssim.State
	if err := json.Unmarshal(a.call(http.MethodGet, "/state", nil), &s); err != nil {
		a.t.Fatal(err)
	}
	return s
}

// item is the volume's item on the array.
func (a *array) item(v *volume) (rdssim.Item, bool) {
	a.t.Helper()
	for _, item := range a.state().Items {
		if item.Slot == v.slot() {
			return item, true
		}
	}
	return rdssim.Item{}, false
}

// file is the volume's backing file.
func (a *array) file(v *volume) string {
	return filepath.Join(a.dir, "pools", "pool", v.slot(), "disk.img")
}

func (a *array) call(method, path string, body io.Reader) []byte {
	a.t.Helper()
	answer, err := request(method, a.control+path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer
}

// request is bound in time, also where what should answer hangs.
func request(method, url string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, answer)
	}
	return answer, err
}
