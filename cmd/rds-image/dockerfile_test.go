package main

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dockerfile is the last stage's, with lines that go on put together.
func dockerfile(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, last, ok := strings.Cut(strings.ReplaceAll(string(text), "\\\n", ""), "FROM scratch\n")
	if !ok {
		t.Fatal("the Dockerfile has no stage FROM scratch")
	}
	return last
}

func TestDockerfileSaysWhatTheArchiveSays(t *testing.T) {
	last := dockerfile(t)
	o := options{arch: "amd64", version: "$VERSION", revision: "$REVISION", created: "$CREATED"}
	labels := map[string]string{}
	for _, m := range regexp.MustCompile(`(org\.opencontainers\S+?)="([^"]*)"`).FindAllStringSubmatch(last, -1) {
		labels[m[1]] = m[2]
	}
	if !maps.Equal(labels, o.labels()) {
		t.Errorf("labels of the Dockerfile\n%v, of the archive\n%v", labels, o.labels())
	}
	o.created = "1970-01-01T00:00:00Z"
	img, err := o.image(newTree())
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	entrypoint, err := json.Marshal(file.Config.Entrypoint)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(last, "\n")
	for _, want := range []string{
		"ENTRYPOINT " + string(entrypoint), "USER " + file.Config.User, "WORKDIR " + file.Config.WorkingDir, "ENV " + file.Config.Env[0],
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the Dockerfile has no line %q", want)
		}
	}
}

func TestDockerfileTakesTheGoOfThisModule(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	minor := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(module))[1]
	if !strings.Contains(string(text), " golang:"+minor+".") {
		t.Errorf("go.mod says Go %s, the Dockerfile does not", minor)
	}
}
