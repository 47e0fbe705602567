// Package kubetest is an HTTP server that answers what the driver asks of a Kubernetes API server, in the
// form of a real one, and can be made to err, refuse and hang. It keeps no rules of Kubernetes: it is for
// tests of what the driver makes of an answer.
package kubetest

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

// Token is what the server's clients authenticate with. It must be told nowhere.
const Token = "t0k3n-0f-th3-s3rv1c3-acc0unt"

// Request is one that the server has seen.
type Request struct {
	Method, URI, Body string
}

// Server answers from objects by path. What has no object is NotFound; what is created is kept, and a patch
// changes nothing.
type Server struct {
	URL     string
	mu      sync.Mutex
	objects map[string]any
	answers map[string]http.HandlerFunc // by path, before objects
	seen    []Request
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{objects: map[string]any{}, answers: map[string]http.HandlerFunc{}}
	web := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(web.Close)
	s.URL = web.URL
	return s
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.seen = append(s.seen, Request{r.Method, r.URL.RequestURI(), string(body)})
	answer, special := s.answers[r.URL.Path]
	object, there := s.objects[r.URL.Path]
	s.mu.Unlock()
	switch {
	case special:
		answer(w, r)
	case r.Method == http.MethodPost:
		s.create(w, r, body)
	case there:
		WriteJSON(w, http.StatusOK, object)
	default:
		NotFound(w, r)
	}
}

func (s *Server) create(w http.ResponseWriter, r *http.Request, body []byte) {
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if meta, ok := object["metadata"].(map[string]any); ok {
		s.Put(fmt.Sprintf("%s/%s", r.URL.Path, meta["name"]), object)
	}
	WriteJSON(w, http.StatusCreated, object)
}

// Put makes the object be what a GET of path gives.
func (s *Server) Put(path string, object any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[path] = object
}

// Remove makes path NotFound.
func (s *Server) Remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, path)
	delete(s.answers, path)
}

// Answer has every request for path answered so.
func (s *Server) Answer(path string, with http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[path] = with
}

// Seen are the requests so far.
func (s *Server) Seen() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// Kubeconfig writes a file that leads to the server.
func (s *Server) Kubeconfig(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":"` + s.URL + `"}}],
"users":[{"name":"u","user":{"token":"` + Token + `"}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// WriteJSON answers with an object.
func WriteJSON(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object) // a client that went away reads nothing
}

// NotFound is what a real API server says of an object that it does not have.
func NotFound(w http.ResponseWriter, r *http.Request) {
	refuse(w, r, http.StatusNotFound, metav1.StatusReasonNotFound)
}

// Forbidden is what it says to who has no right.
func Forbidden(w http.ResponseWriter, r *http.Request) {
	refuse(w, r, http.StatusForbidden, metav1.StatusReasonForbidden)
}

// Away is what a proxy says when no API server is behind it.
func Away(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "no upstream", http.StatusBadGateway)
}

// NoSuchPath is what an API server says of a group that it does not serve, and any other web server of any path.
func NoSuchPath(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

// Hang answers nothing until the client or the test ends.
func Hang(t testing.TB) http.HandlerFunc {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}
}

func refuse(w http.ResponseWriter, r *http.Request, code int, reason metav1.StatusReason) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	d := &metav1.StatusDetails{Kind: parts[len(parts)-2], Name: parts[len(parts)-1]}
	if parts[0] == "apis" {
		d.Group = parts[1]
	}
	WriteJSON(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Message: fmt.Sprintf("%s.%s %q: %s", d.Kind, d.Group, d.Name, reason), Reason: reason, Code: int32(code), Details: d,
	})
}
