package kube

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube/kubetest"
)

func open(t *testing.T, s *kubetest.Server) *Client {
	t.Helper()
	c, err := Open(s.Kubeconfig(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestWithoutAnAPIServerThereIsNoClient(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := Open("", "test"); !errors.Is(err, ErrNone) {
		t.Errorf("got %v", err)
	}
}

func TestAPodWithoutAServiceAccountIsToldFromNoPod(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	if _, err := Open("", "test"); err == nil || errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "service account") {
		t.Errorf("got %v", err)
	}
}

func TestAKubeconfigThatIsNoneIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	if _, err := Open(path, "test"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestClusterUID(t *testing.T) {
	s := kubetest.Start(t)
	s.Put(kubetest.KubeSystem, kubetest.Namespace("0f0e"))
	uid, err := open(t, s).ClusterUID(t.Context())
	if err != nil || uid != "0f0e" {
		t.Errorf("got %q, %v", uid, err)
	}
}

func TestAClusterThatDoesNotTellItsUID(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"forbidden": kubetest.Forbidden,
		"not found": kubetest.NotFound,
		"no UID": func(w http.ResponseWriter, _ *http.Request) {
			kubetest.WriteJSON(w, http.StatusOK, kubetest.Namespace(""))
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := kubetest.Start(t)
			s.Answer(kubetest.KubeSystem, answer)
			uid, err := open(t, s).ClusterUID(t.Context())
			if uid != "" || fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), s.URL) {
				t.Errorf("got %q, %v", uid, err)
			}
			if err != nil && strings.Contains(err.Error(), kubetest.Token) {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

func TestAServerThatHangsIsNotWaitedFor(t *testing.T) {
	s := kubetest.Start(t)
	s.Answer(kubetest.KubeSystem, kubetest.Hang(t))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := open(t, s).ClusterUID(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// client-go says "Waited before sending request" where a request had to wait for its turn.
func TestClientGoWritesNothingToStderr(t *testing.T) {
	s := kubetest.Start(t)
	s.Put(kubetest.KubeSystem, kubetest.Namespace("0f0e"))
	c, stderr := open(t, s), os.Stderr
	t.Cleanup(func() { os.Stderr = stderr })
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	os.Stderr = file
	for range requestBurst {
		_, _ = c.ClusterUID(t.Context())
	}
	var running sync.WaitGroup
	for range 2 * requestsPerSecond {
		running.Go(func() { _, _ = c.ClusterUID(t.Context()) })
	}
	running.Wait()
	if text, err := os.ReadFile(file.Name()); err != nil || len(text) != 0 {
		t.Errorf("stderr %q, %v", text, err)
	}
}
