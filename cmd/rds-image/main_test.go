package main

import (
	"strings"
	"testing"
)

func TestMistakesAreNamed(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no output": {nil, "--archive"},
		"processor": {[]string{"--archive", "x", "--arch", "mips"}, `--arch "mips"`},
		"time":      {[]string{"--archive", "x", "--created", "now"}, `--created "now"`},
		"argument":  {[]string{"--archive", "x", "y"}, `"y"`},
	} {
		if _, err := parse(test.args); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want one that names %s", name, err, test.want)
		}
	}
}

func TestALibraryThatNoPackageHasIsNamed(t *testing.T) {
	p := picker{from: newTree(), to: newTree(), arch: "amd64"}
	if err := p.library("libgone.so.1"); err == nil || !strings.Contains(err.Error(), "libgone.so.1") {
		t.Errorf("%v", err)
	}
	if err := p.program("mkfs.gone"); err == nil {
		t.Error("a program that no package has was taken")
	}
}
