package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

const (
	releasedVolume = "rds/csi-0123456789abcdef0123456789ab"
	releasedNQN    = "nqn.2000-02.com.mikrotik:csi-0123456789abcdef0123456789ab.0a1b2c3d"
)

// stagedVolume is a plugin directory with the record of one volume.
func stagedVolume(t *testing.T) (dir string, records *stage.Store) {
	t.Helper()
	dir = t.TempDir()
	records, err := stage.Open(recordsDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := records.Save(&stage.Record{VolumeID: releasedVolume, NQN: releasedNQN}); err != nil {
		t.Fatal(err)
	}
	return dir, records
}

// plugin stands for the node plugin: once a release is asked it does what act does.
func plugin(t *testing.T, records *stage.Store, act func() error) {
	t.Helper()
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			asked, err := records.ReleaseAsked(&stage.Record{VolumeID: releasedVolume, NQN: releasedNQN})
			if err != nil {
				t.Error(err)
				return
			}
			if asked {
				if err := act(); err != nil {
					t.Error(err)
				}
				return
			}
		}
		t.Error("no release was asked")
	}()
}

func mustNotBeAsked(t *testing.T, records *stage.Store) {
	t.Helper()
	asked, err := records.ReleaseAsked(&stage.Record{VolumeID: releasedVolume, NQN: releasedNQN})
	if asked || err != nil {
		t.Errorf("the request has outlived the command: %t, %v", asked, err)
	}
}

func TestReleaseWaitsForTheNodePlugin(t *testing.T) {
	for name, args := range map[string][]string{
		"volume first": {releasedVolume, "--timeout=10s"},
		"volume last":  {"--timeout=10s", releasedVolume},
		"short id":     {strings.TrimPrefix(releasedVolume, "rds/"), "--timeout=10s"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, records := stagedVolume(t)
			plugin(t, records, func() error { return records.Delete(releasedVolume) })
			args = append([]string{args[0], "--plugin-dir=" + dir}, args[1:]...)
			if name == "volume last" {
				args = []string{args[0], args[1], args[2]}
			}
			var out strings.Builder
			if err := release(t.Context(), args, noEnvironment, &out); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), releasedVolume+" is released") {
				t.Errorf("printed %q", out.String())
			}
			mustNotBeAsked(t, records)
		})
	}
}

func TestReleaseSaysThatAConnectedVolumeWasLeftAlone(t *testing.T) {
	dir, records := stagedVolume(t)
	plugin(t, records, func() error { return records.WithdrawRelease(releasedVolume) })
	err := release(t.Context(), []string{releasedVolume, "--plugin-dir=" + dir}, noEnvironment, &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "is connected and was left alone") {
		t.Errorf("got %v", err)
	}
}

// A request that nobody waits for any more must not release anything later.
func TestReleaseTakesItsRequestBack(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx  context.Context
		args []string
		want error
	}{
		"timeout": {t.Context(), []string{"--timeout=20ms"}, context.DeadlineExceeded},
		"Ctrl-C":  {cancelled, nil, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			dir, records := stagedVolume(t)
			args := append([]string{releasedVolume, "--plugin-dir=" + dir}, tt.args...)
			err := release(tt.ctx, args, noEnvironment, &strings.Builder{})
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v", err)
			}
			mustNotBeAsked(t, records)
		})
	}
}

func TestReleaseMistakes(t *testing.T) {
	dir, _ := stagedVolume(t)
	for name, tt := range map[string]struct {
		args  []string
		usage bool
		says  string
	}{
		"no volume":        {nil, true, "volumeHandle"},
		"two volumes":      {[]string{"a", "b"}, true, `"b"`},
		"unknown volume":   {[]string{"rds/other", "--plugin-dir=" + dir}, false, "rds/other is not staged"},
		"no such plugin":   {[]string{releasedVolume, "--plugin-dir=" + filepath.Join(dir, "none")}, false, "--plugin-dir"},
		"unknown flag":     {[]string{releasedVolume, "--force"}, true, "force"},
		"endpoint, no dir": {[]string{releasedVolume, "--endpoint=tcp://x"}, true, "--endpoint"},
	} {
		err := release(t.Context(), tt.args, noEnvironment, &strings.Builder{})
		if err == nil || isUsage(err) != tt.usage || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: usage %t, %v", name, isUsage(err), err)
		}
	}
}
