package guest

import (
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// built is the path of a program in the guest.
func built(name string) string { return filepath.Join(shared(), name) }

// plugin is rds-csi-plugin as a program, and a client of its socket.
type plugin struct {
	*program.Process
	csi.ControllerClient
	csi.NodeClient
	t       *testing.T
	dir     string // its --plugin-dir
	flags   []string
	env     []string
	address string // of /metrics
}

const metricsFlag = "--metrics-address="

// startPlugin runs it with a directory, a socket and an address of metrics of its own. Later flags win.
func startPlugin(t *testing.T, dir string, flags ...string) *plugin {
	t.Helper()
	p := &plugin{t: t, dir: dir}
	socket := filepath.Join(dir, "csi.sock")
	p.flags = append([]string{
		"--cluster-id=e2e", "--plugin-dir=" + dir, "--endpoint=unix://" + socket, metricsFlag + program.FreeAddress(t), "--log-level=debug",
	}, flags...)
	for _, flag := range p.flags {
		if address, found := strings.CutPrefix(flag, metricsFlag); found {
			p.address = address
		}
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p.ControllerClient, p.NodeClient = csi.NewControllerClient(conn), csi.NewNodeClient(conn)
	p.start()
	return p
}

// start runs it, again after kill or stop: same flags, same socket, same records.
func (p *plugin) start() {
	p.t.Helper()
	p.Process = program.Begin(p.t, built("rds-csi-plugin"), p.env, p.flags...)
	program.Await(p.t, "the driver serves", func() bool {
		said := p.Stderr.String()
		return !p.Running() || strings.Contains(said, "serving CSI") && strings.Contains(said, "metrics are served")
	})
	if !p.Running() {
		p.t.Fatalf("the driver did not start: %s", p.Stderr)
	}
}

// kill is kill -9, as the kernel does when memory is short: nothing is tidied up.
func (p *plugin) kill() {
	p.t.Helper()
	p.Kill(p.t)
}

// stop is SIGTERM, as Kubernetes does.
func (p *plugin) stop() {
	p.t.Helper()
	p.Signal(p.t, syscall.SIGTERM)
	if code := p.Code(p.t); code != 0 {
		p.t.Errorf("the driver ended with code %d", code)
	}
}

// metrics is a scrape.
func (p *plugin) metrics() string {
	p.t.Helper()
	body, err := request(http.MethodGet, "http://"+p.address+"/metrics", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(body)
}

// metric is the value of a series, written as in the scrape: name{label="value",…}. ok is whether it is there.
func (p *plugin) metric(series string) (value float64, ok bool) {
	p.t.Helper()
	for line := range strings.Lines(p.metrics()) {
		text, found := strings.CutPrefix(line, series+" ")
		if !found {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			p.t.Fatalf("%s: %v", series, err)
		}
		return value, true
	}
	return 0, false
}
