package kube

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// apiServer answers as a Kubernetes API server does, from objects by path. What has no object is a NotFound
// in the form of a real one's.
type apiServer struct {
	*httptest.Server
	mu      sync.Mutex
	objects map[string]any              // by path; JSON
	answers map[string]http.HandlerFunc // by path, before objects
	asked   []string                    // method, path and query of each request
	bodies  []string
}

func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{objects: map[string]any{}, answers: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimSuffix(r.Method+" "+r.URL.RequestURI(), "?"))
	s.bodies = append(s.bodies, string(body))
	answer, special := s.answers[r.URL.Path]
	object, there := s.objects[r.URL.Path]
	s.mu.Unlock()
	switch {
	case special:
		answer(w, r)
	case r.Method == http.MethodPost:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(body)
	case there:
		writeJSON(w, http.StatusOK, object)
	default:
		notFound(w, r)
	}
}

func (s *apiServer) put(path string, object any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[path] = object
}

func (s *apiServer) remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, path)
	delete(s.answers, path)
}

func (s *apiServer) answer(path string, with http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[path] = with
}

func (s *apiServer) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func writeJSON(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

// notFound is what a real API server says of an object that it does not have.
func notFound(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	kind, name := parts[len(parts)-2], parts[len(parts)-1]
	group := ""
	if parts[0] == "apis" {
		group = parts[1]
	}
	refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, group, kind, name)
}

func forbidden(w http.ResponseWriter, _ *http.Request) {
	refuse(w, http.StatusForbidden, metav1.StatusReasonForbidden, "", "", "")
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason, group, kind, name string) {
	writeJSON(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Message: fmt.Sprintf("%s.%s %q: %s", kind, group, name, reason), Reason: reason, Code: int32(code),
		Details: &metav1.StatusDetails{Group: group, Kind: kind, Name: name},
	})
}

// open gives a client of the server, by a kubeconfig as a user would.
func (s *apiServer) open(t *testing.T) *Client {
	t.Helper()
	c, err := Open(kubeconfig(t, s.URL), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":"` + server + `"}}],
"users":[{"name":"u","user":{"token":"t0p-s3cr3t"}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
