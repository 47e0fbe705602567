package rdssim

import (
	"fmt"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// boardName is how a client knows that the array is simulated.
const boardName = "rds-sim"

const (
	totalMemory = 32 << 30
	freeMemory  = 30 << 30
	totalFlash  = 128 << 20
	freeFlash   = 90 << 20
)

// resources are the properties of /system/resource, in the order of print.
func (a *Array) resources() []struct {
	name  string
	value script.Value
	human string
} {
	up := uptime(a.now().Sub(a.booted))
	version := a.version.text + " (stable)"
	built := "2026-09-21 09:14:33"
	return []struct {
		name  string
		value script.Value
		human string
	}{
		{"uptime", up, up}, {"version", version, version}, {"build-time", built, built},
		{"free-memory", int64(freeMemory), "30.0GiB"}, {"total-memory", int64(totalMemory), "32.0GiB"},
		{"cpu", "ARM64", "ARM64"}, {"cpu-count", int64(16), "16"}, {"cpu-load", int64(1), "1%"},
		{"free-hdd-space", int64(freeFlash), "90.0MiB"}, {"total-hdd-space", int64(totalFlash), "128.0MiB"},
		{"architecture-name", "arm64", "arm64"}, {"board-name", boardName, boardName}, {"platform", "MikroTik", "MikroTik"},
	}
}

// uptime is spelled 1w2d3h4m5s, zero units left out.
func uptime(d time.Duration) string {
	units := []struct {
		name string
		size time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	text := ""
	for _, u := range units {
		if n := d / u.size; n > 0 || u.name == "s" && text == "" {
			text += fmt.Sprintf("%d%s", n, u.name)
		}
		d %= u.size
	}
	return text
}

func (a *Array) resourcePrint(call *script.Call) (script.Value, error) {
	values := &script.List{}
	var lines [][2]string
	for _, r := range a.resources() {
		values.Put(r.name, r.value)
		lines = append(lines, [2]string{r.name, r.human})
	}
	return printObject(call, values, lines), nil
}

func printObject(call *script.Call, values *script.List, lines [][2]string) script.Value {
	if call.Flag("as-value") {
		return values
	}
	call.Print(aligned(lines))
	return nil
}

func (a *Array) resourceGet(call *script.Call) (script.Value, error) {
	values := &script.List{}
	for _, r := range a.resources() {
		values.Put(r.name, r.value)
	}
	return getObject(call, values)
}

func getObject(call *script.Call, values *script.List) (script.Value, error) {
	name, given := call.Args["value-name"]
	if !given {
		return values, nil
	}
	v := values.Get(script.Text(name))
	if v == nil {
		return nil, script.Errorf("input does not match any value of value-name")
	}
	return v, nil
}

func (a *Array) identity() *script.List {
	values := &script.List{}
	values.Put("name", a.header.Identity)
	return values
}

func (a *Array) identityPrint(call *script.Call) (script.Value, error) {
	return printObject(call, a.identity(), [][2]string{{"name", a.header.Identity}}), nil
}

func (a *Array) identityGet(call *script.Call) (script.Value, error) {
	return getObject(call, a.identity())
}

func (a *Array) identitySet(call *script.Call) (script.Value, error) {
	if name, given := call.Args["name"]; given {
		a.header.Identity = script.Text(name)
	}
	return nil, nil
}
