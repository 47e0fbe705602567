package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/goldentest"
)

const reference = "../../docs/reference/"

func noEnvironment(string) string { return "" }

func page(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(reference + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// helpText is what -h prints.
func helpText(t *testing.T, parse func(args []string, out io.Writer) error) string {
	t.Helper()
	var out bytes.Buffer
	if err := parse([]string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("-h: %v", err)
	}
	return out.String()
}

var (
	helpFlag    = regexp.MustCompile(`(?m)^  -(\S+)(?: \S+)?\n\s+\t(.*)$`)
	helpDefault = regexp.MustCompile(` \(default ("?)([^"]*?)"?\)$`)
)

// flagTable makes the reference's table of a help text.
func flagTable(help string) string {
	table := "| Flag | Variable | Default | |\n|---|---|---|---|\n"
	for _, m := range helpFlag.FindAllStringSubmatch(help, -1) {
		usage, value := m[2], ""
		if d := helpDefault.FindStringSubmatch(usage); d != nil {
			usage, value = strings.TrimSuffix(usage, d[0]), "`"+d[2]+"`"
		}
		table += fmt.Sprintf("| `--%s` | `%s` | %s | %s |\n", m[1], environmentName(m[1]), value, usage)
	}
	return table
}

// TestFlagsReference compares the tables of docs/reference/flags.md with the flags, or writes them
// anew (UPDATE_GOLDEN=1).
func TestFlagsReference(t *testing.T) {
	for name, help := range map[string]string{
		"rds-csi-plugin": helpText(t, func(args []string, out io.Writer) error {
			_, err := parse(args, noEnvironment, out)
			return err
		}),
		"rds-csi-plugin demo": helpText(t, func(args []string, out io.Writer) error {
			_, err := parseDemo(args, noEnvironment, out)
			return err
		}),
		"rds-csi-plugin check": helpText(t, func(args []string, out io.Writer) error {
			_, err := parseCheck(args, noEnvironment, out)
			return err
		}),
		"rds-csi-plugin release": helpText(t, func(args []string, out io.Writer) error {
			return release(t.Context(), args, noEnvironment, out)
		}),
	} {
		table := flagTable(help)
		if strings.Count(table, "\n") < 4 {
			t.Fatalf("no table of %s was made: %s", name, table)
		}
		goldentest.Section(t, reference+"flags.md", name, table)
	}
}

func TestDemoReferenceHasEveryKey(t *testing.T) {
	text := page(t, "demo.md")
	for prefix, of := range map[string]reflect.Type{"": reflect.TypeFor[document](), "steps[].": reflect.TypeFor[stepDone]()} {
		for field := range of.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !strings.Contains(text, "\n| `"+prefix+name+"` |") {
				t.Errorf("docs/reference/demo.md does not list %s%s", prefix, name)
			}
		}
	}
}

// controllerOnly is a driver with a simulated array.
func controllerOnly(t *testing.T) (*world, *life) {
	t.Helper()
	path := dataPath{name: pathNone}
	o := &demoOptions{logLevel: "error"}
	w, err := newWorld(t.Context(), o, path, t.TempDir(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w, newLife(w, path, newReport(o, path, io.Discard))
}

// refusal is what the driver says to a StorageClass.
func refusal(t *testing.T, l *life, key, value string) string {
	t.Helper()
	_, err := l.controller.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
		Name: "refused", VolumeCapabilities: []*csi.VolumeCapability{l.capability()}, Parameters: map[string]string{key: value},
	})
	if err == nil {
		t.Fatalf("%s=%s was accepted", key, value)
	}
	return status.Convert(err).Message()
}

// TestStorageClassReference asks the driver itself: which keys it knows, their bounds, and what a
// volume without parameters is published with.
func TestStorageClassReference(t *testing.T) {
	_, l := controllerOnly(t)
	for _, run := range []func(context.Context) (string, error){l.create, l.attachNowhere} {
		if _, err := run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	listed := map[string][]string{} // key: values, default
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (.*?) \\| (.*?) \\|").FindAllStringSubmatch(page(t, "storageclass.md"), -1) {
		listed[m[1]] = m[2:]
	}
	_, known, _ := strings.Cut(refusal(t, l, "unheardOf", "1"), "known are ")
	if want := strings.Split(known, ", "); !slices.Equal(slices.Sorted(maps.Keys(listed)), want) {
		t.Fatalf("listed are %v, known are %v", slices.Sorted(maps.Keys(listed)), want)
	}
	bounds := regexp.MustCompile(`number from (\d+ to \d+)(, or off)?`)
	tested := 0
	for key, cells := range listed {
		if strings.HasPrefix(cells[1], "`--") || key == "nvmePort" {
			continue // a name, or a flag's default
		}
		tested++
		m := bounds.FindStringSubmatch(refusal(t, l, key, "many"))
		if m == nil || !strings.Contains(cells[0], m[1]) || strings.Contains(cells[0], "`off`") != (m[2] != "") {
			t.Errorf("%s: listed is %q, the driver says %q", key, cells[0], m)
		}
		value := strings.Replace(l.publish[key], "-1", "off", 1)
		if value != cells[1] {
			t.Errorf("%s: the default is %s, listed is %s", key, value, cells[1])
		}
	}
	if tested < 5 {
		t.Errorf("only %d parameters were looked at", tested)
	}
	if !strings.Contains(refusal(t, l, "nvmePort", "0"), listed["nvmePort"][0]) {
		t.Error("nvmePort: the bounds are others")
	}
}

// TestVolumesReferenceShowsTheRecord compares the comments shown with those that are written.
func TestVolumesReferenceShowsTheRecord(t *testing.T) {
	w, l := controllerOnly(t)
	text := page(t, "volumes-on-the-array.md")
	for _, run := range []func(context.Context) (string, error){l.create, l.attachNowhere} {
		if _, err := run(t.Context()); err != nil {
			t.Fatal(err)
		}
		comment := ""
		for _, item := range w.array.Items() {
			comment += item.Comment
		}
		for placeholder, value := range map[string]string{"token=TOKEN": `token=[0-9a-f]{8}`, "trace=TRACE": `trace=[0-9a-f-]{55}`, "by=NODE;": `by=[^;]+;`} {
			comment = regexp.MustCompile(value).ReplaceAllString(comment, placeholder)
		}
		if comment == "" || !strings.Contains(text, "\n"+comment+"\n") {
			t.Errorf("docs/reference/volumes-on-the-array.md does not show %q", comment)
		}
	}
}
