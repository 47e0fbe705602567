package k8s

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// array is the simulated array, at the node's address and SSH's port.
type array struct {
	*daemon
	control string // base URL
	hostKey string // fingerprint
}

const arrayPool = "storage-pool"

func startArray(t *testing.T) *array {
	t.Helper()
	dir := under("array")
	losetup, err := os.ReadFile(built("losetup"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(write(t, "array/bin/losetup", string(losetup)), 0o755); err != nil {
		t.Fatal(err)
	}
	a := &array{}
	a.daemon = start(t, "rds-sim", nil, under("bin/rds-sim"), "--dir", dir, "--ssh-address", nodeIP+":22", "--control-address", "127.0.0.1:8291",
		"--pool", arrayPool+":btrfs:200G")
	a.control = "http://127.0.0.1:8291"
	fingerprint := regexp.MustCompile(`(?m)^host key: +(SHA256:\S+)$`)
	await(t, "the array is there", func() (bool, string) {
		text := a.tail()
		if m := fingerprint.FindStringSubmatch(text); m != nil {
			a.hostKey = m[1]
		}
		return a.hostKey != "" && strings.Contains(text, "driver:"), text
	})
	return a
}

// do sends a request to the simulator's control interface, also at the end of a test.
func (a *array) do(t *testing.T, method, path, body string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, a.control+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: 30 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s, %v: %s", method, path, response.Status, err, text)
	}
	return text
}

// agrees waits until the array's volumes are those of the cluster's PersistentVolumes.
func (a *array) agrees(t *testing.T) {
	t.Helper()
	await(t, "the array's volumes are the cluster's", func() (bool, string) {
		handles := kubectl(t, "get", "pv", "-o", "jsonpath={.items[*].spec.csi.volumeHandle}")
		want := strings.Fields(strings.ReplaceAll(handles, "rds/", ""))
		slices.Sort(want)
		got := a.slots(t)
		return slices.Equal(got, want), fmt.Sprintf("the array has %q, the cluster %q", got, want)
	})
}

// volume is a /disk item of the array, as its control interface shows it.
type volume struct {
	Slot     string   `json:"slot"`
	Comment  string   `json:"comment"`
	Exported bool     `json:"exported"`
	NQN      string   `json:"nqn"`
	Hosts    []string `json:"hosts"`
}

func (a *array) volumes(t *testing.T) []volume {
	t.Helper()
	var state struct {
		Items []volume `json:"items"`
	}
	if err := json.Unmarshal(a.do(t, http.MethodGet, "/state", ""), &state); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(state.Items, func(v volume) bool { return !strings.HasPrefix(v.Slot, "csi-") })
}

// slots are the names of the array's volumes, sorted.
func (a *array) slots(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, v := range a.volumes(t) {
		found = append(found, v.Slot)
	}
	slices.Sort(found)
	return found
}
