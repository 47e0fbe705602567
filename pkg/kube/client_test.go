package kube

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

const kubeSystem = "/api/v1/namespaces/kube-system"

func namespace(uid string) map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "kube-system", "uid": uid}}
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
	s := startAPIServer(t)
	s.put(kubeSystem, namespace("0f0e"))
	uid, err := s.open(t).ClusterUID(t.Context())
	if err != nil || uid != "0f0e" {
		t.Errorf("got %q, %v", uid, err)
	}
}

func TestAClusterThatDoesNotTellItsUID(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"forbidden": forbidden,
		"not found": notFound,
		"no UID":    func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, namespace("")) },
		"no JSON":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := startAPIServer(t)
			s.answer(kubeSystem, answer)
			uid, err := s.open(t).ClusterUID(t.Context())
			if uid != "" || fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), s.URL) {
				t.Errorf("got %q, %v", uid, err)
			}
			if err != nil && strings.Contains(err.Error(), "t0p-s3cr3t") {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

// hang answers when the test ends, as a server behind a firewall that drops packets.
func hang(t *testing.T) http.HandlerFunc {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}
}

func TestAServerThatHangsIsNotWaitedFor(t *testing.T) {
	s := startAPIServer(t)
	s.answer(kubeSystem, hang(t))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.open(t).ClusterUID(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
