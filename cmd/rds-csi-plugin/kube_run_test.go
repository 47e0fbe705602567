package main

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/host"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube/kubetest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// runUntil runs the program until the API server has seen a request that ok is true for, and ends it.
func runUntil(t *testing.T, s *kubetest.Server, what string, ok func(kubetest.Request) bool, args ...string) {
	t.Helper()
	dir := t.TempDir()
	args = append(args, "--endpoint=unix://"+filepath.Join(dir, "csi.sock"), "--kubeconfig="+s.Kubeconfig(t), "--metrics-address=")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- start(ctx, args, noEnvironment, &stdout, &stderr) }()
	for deadline := time.Now().Add(20 * time.Second); !slices.ContainsFunc(s.Seen(), ok); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) || len(ended) > 0 {
			t.Errorf("%s: the API server has seen %v", what, s.Seen())
			break
		}
	}
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(stderr.String(), kubetest.Token) {
		t.Error("the log tells the token")
	}
	if t.Failed() {
		t.Log(stderr.String())
	}
}

func runningCluster(t *testing.T) *kubetest.Server {
	t.Helper()
	s := kubetest.Start(t)
	s.Put(kubetest.KubeSystem, kubetest.Namespace(clusterUIDOfTest))
	return s
}

func TestTheControllerPostsEventsOnItsPod(t *testing.T) {
	s := runningCluster(t)
	array, err := rdssim.Start(t.Context(), rdssim.Options{Dir: filepath.Join(t.TempDir(), "array")})
	if err != nil {
		t.Fatal(err)
	}
	key := array.ClientKeyFile()
	if err := array.Close(); err != nil { // it is away
		t.Fatal(err)
	}
	posted := func(r kubetest.Request) bool {
		return r.Method == "POST" && strings.Contains(r.Body, "ArrayUnreachable") && strings.Contains(r.Body, "pod-uid-1")
	}
	runUntil(t, s, "an event", posted, "--controller", "--rds-address=127.0.0.1", "--rds-port=1", "--rds-key-file="+key, "--rds-insecure-skip-verify",
		"--pod-name=controller-0", "--pod-namespace=kube-system", "--pod-uid=pod-uid-1")
}

func TestTheControllerAsksForPersistentVolumes(t *testing.T) {
	s := runningCluster(t)
	s.Answer(kubetest.PVsPath, kubetest.PVs())
	array, err := rdssim.Start(t.Context(), rdssim.Options{
		Dir: filepath.Join(t.TempDir(), "array"), Pools: []rdssim.Pool{{Name: "pool", FS: "xfs", Size: 1 << 30}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer array.Close()
	listed := func(r kubetest.Request) bool {
		return r.Method == "GET" && strings.HasPrefix(r.URI, kubetest.PVsPath+"?")
	}
	runUntil(t, s, "a list", listed, append(array.DriverFlags(), "--controller")...)
}

func TestTheNodeAsksForItsVolumeAttachmentsAndTakesOffItsTaint(t *testing.T) {
	s := runningCluster(t)
	dir := t.TempDir()
	records, err := stage.Open(recordsDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	boot, err := host.BootID()
	if err != nil {
		t.Fatal(err)
	}
	err = records.Save(&stage.Record{
		VolumeID: releasedVolume, NQN: releasedNQN, StagedAt: time.Now().Add(-time.Hour), BootID: boot, StagingPath: filepath.Join(dir, "staging"),
	})
	if err != nil {
		t.Fatal(err)
	}
	attachment := kubetest.Attachment{Driver: defaultDriverName, Node: "n1", Handle: releasedVolume}
	for what, path := range map[string]string{"its VolumeAttachment": attachment.Path(), "its CSINode": "/apis/storage.k8s.io/v1/csinodes/n1"} {
		asked := func(r kubetest.Request) bool { return strings.HasPrefix(r.URI, path) }
		runUntil(t, s, what, asked, "--node", "--node-id=n1", "--plugin-dir="+dir, "--startup-taint=agent-not-ready")
	}
}
