package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube/kubetest"
)

// clusterWith is a server of the cluster cluster-1 with these PersistentVolumes.
func clusterWith(t *testing.T, pvs ...any) (*kubetest.Server, *Volumes) {
	t.Helper()
	s := kubetest.Start(t)
	s.Put(kubetest.KubeSystem, kubetest.Namespace("cluster-1"))
	s.Answer(kubetest.PVsPath, kubetest.PVs(pvs...))
	return s, NewVolumes(open(t, s), "cluster-1")
}

func pvOf(driver, handle string) any {
	return kubetest.PV("pv-of-"+handle, driver, handle, "default", "claim", "uid")
}

func manyPVs(n int) (pvs []any) {
	for i := range n {
		pvs = append(pvs, pvOf("rds.csi.srvlab.io", fmt.Sprint("rds/v", i)))
	}
	return pvs
}

func TestHandlesOfAllPersistentVolumes(t *testing.T) {
	nfs := object{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": object{"name": "nfs"}, "spec": object{"nfs": object{"server": "s", "path": "/"}}}
	for name, tt := range map[string]struct {
		pvs  []any
		want []string
	}{
		"none":                    {nil, nil},
		"both forms":              {[]any{pvOf("rds.csi.srvlab.io", testVolume), pvOf("rds.csi.srvlab.io", testSlot)}, []string{testSlot, testVolume}},
		"of whichever driver":     {[]any{pvOf("the.former.name", testVolume), nfs}, []string{testVolume}},
		"two that name one thing": {[]any{pvOf("rds.csi.srvlab.io", testVolume), pvOf("rds.csi.srvlab.io", testVolume)}, []string{testVolume}},
	} {
		t.Run(name, func(t *testing.T) {
			_, volumes := clusterWith(t, tt.pvs...)
			got, err := volumes.Handles(t.Context())
			if keys := slices.Sorted(maps.Keys(got)); err != nil || !slices.Equal(keys, tt.want) {
				t.Errorf("got %q, %v", keys, err)
			}
		})
	}
}

// A list from a cache may be older than what it is compared with, so no resourceVersion is asked for.
func TestHandlesComeInPagesAndFromNoCache(t *testing.T) {
	s, volumes := clusterWith(t, manyPVs(1001)...)
	got, err := volumes.Handles(t.Context())
	if err != nil || len(got) != 1001 || !got["rds/v0"] || !got["rds/v1000"] {
		t.Errorf("%d handles, %v", len(got), err)
	}
	pages := 0
	for _, r := range s.Seen() {
		if strings.HasPrefix(r.URI, kubetest.PVsPath+"?") {
			pages++
		}
		if strings.Contains(r.URI, "resourceVersion") || r.Method != http.MethodGet {
			t.Errorf("asked by %s %s", r.Method, r.URI)
		}
	}
	if pages != 3 {
		t.Errorf("%d pages, want 3", pages)
	}
}

// onPage answers a page, counted from 0, in another way.
func onPage(page int, answer http.HandlerFunc) http.HandlerFunc {
	rest, asked := kubetest.PVs(manyPVs(1001)...), 0
	return func(w http.ResponseWriter, r *http.Request) {
		asked++
		if asked == page+1 {
			answer(w, r)
			return
		}
		rest(w, r)
	}
}

func expired(w http.ResponseWriter, _ *http.Request) {
	kubetest.WriteJSON(w, http.StatusGone, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Reason: metav1.StatusReasonExpired, Code: http.StatusGone, Message: "the continue token is too old",
	})
}

func halfAPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"PersistentVolumeList","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"na`))
}

func someJSON(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(text))
	}
}

// Less than all PersistentVolumes would make orphans of volumes that have one.
func TestHandlesThatAreNotAllAreAnError(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"no right":                   kubetest.Forbidden,
		"no API server":              kubetest.Away,
		"no such path":               kubetest.NoSuchPath,
		"some JSON":                  someJSON(`{}`),
		"a list of nobody":           someJSON(`{"apiVersion":"v1","kind":"PersistentVolumeList","items":[]}`),
		"another object":             someJSON(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"x","resourceVersion":"1"}}`),
		"half a list":                halfAPage,
		"no right to the third page": onPage(2, kubetest.Forbidden),
		"half a second page":         onPage(1, halfAPage),
		"some JSON for a page":       onPage(1, someJSON(`{}`)),
		"the first page is too old":  onPage(0, expired),
	} {
		t.Run(name, func(t *testing.T) {
			s, volumes := clusterWith(t)
			s.Answer(kubetest.PVsPath, answer)
			got, err := volumes.Handles(t.Context())
			if err == nil || got != nil || !strings.Contains(err.Error(), "list the PersistentVolumes") {
				t.Errorf("got %d handles, %v", len(got), err)
			}
			if strings.Contains(fmt.Sprint(err), kubetest.Token) {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

// client-go asks for the whole list then.
func TestAPageThatHasExpiredLosesNothing(t *testing.T) {
	s, volumes := clusterWith(t)
	s.Answer(kubetest.PVsPath, onPage(1, expired))
	if got, err := volumes.Handles(t.Context()); err != nil || len(got) != 1001 {
		t.Errorf("%d handles, %v", len(got), err)
	}
}

// What was on a page of the state that has expired may be gone in the one that is listed then.
func TestAListThatBeginsAnewForgetsWhatCameBefore(t *testing.T) {
	s, volumes := clusterWith(t)
	first, later := kubetest.PVs(manyPVs(1001)...), kubetest.PVs(pvOf("rds.csi.srvlab.io", "rds/v1000"), pvOf("rds.csi.srvlab.io", "rds/new"))
	asked := 0
	s.Answer(kubetest.PVsPath, func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch asked {
		case 1:
			first(w, r)
		case 2:
			expired(w, r)
		default:
			later(w, r)
		}
	})
	got, err := volumes.Handles(t.Context())
	if keys := slices.Sorted(maps.Keys(got)); err != nil || asked != 3 || !slices.Equal(keys, []string{"rds/new", "rds/v1000"}) {
		t.Errorf("%d requests, got %.80q, %v", asked, keys, err)
	}
}

func TestPersistentVolumesAreNotKept(t *testing.T) {
	_, volumes := clusterWith(t, manyPVs(3)...)
	found := handleList{of: volumes}
	page, err := found.page(t.Context(), metav1.ListOptions{})
	if err != nil || len(found.all) != 3 || meta.LenList(page) != 0 {
		t.Errorf("%d handles, and %d items kept, %v", len(found.all), meta.LenList(page), err)
	}
}

func TestHandlesOfAnotherClusterAreAnError(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(s *kubetest.Server)
		kind   fault.Kind
	}{
		"another": {func(s *kubetest.Server) { s.Put(kubetest.KubeSystem, kubetest.Namespace("cluster-2")) }, fault.Precondition},
		"unknown": {func(s *kubetest.Server) { s.Answer(kubetest.KubeSystem, kubetest.Forbidden) }, fault.Unavailable},
		"no UID":  {func(s *kubetest.Server) { s.Put(kubetest.KubeSystem, kubetest.Namespace("")) }, fault.Unavailable},
		"meanwhile": {func(s *kubetest.Server) {
			s.Answer(kubetest.PVsPath, func(w http.ResponseWriter, r *http.Request) {
				s.Put(kubetest.KubeSystem, kubetest.Namespace("cluster-2"))
				kubetest.PVs()(w, r)
			})
		}, fault.Precondition},
	} {
		t.Run(name, func(t *testing.T) {
			s, volumes := clusterWith(t, pvOf("rds.csi.srvlab.io", testVolume))
			tt.change(s)
			got, err := volumes.Handles(t.Context())
			if got != nil || fault.KindOf(err) != tt.kind {
				t.Errorf("got %v, %v", got, err)
			}
			if tt.kind == fault.Precondition && !(strings.Contains(err.Error(), "cluster-1") && strings.Contains(err.Error(), "cluster-2") && strings.Contains(err.Error(), "--cluster-id")) {
				t.Errorf("it does not say what is wrong: %v", err)
			}
		})
	}
}

func TestHandlesAreNotWaitedFor(t *testing.T) {
	s, volumes := clusterWith(t)
	s.Answer(kubetest.PVsPath, kubetest.Hang(t))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := volumes.Handles(ctx); got != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, %v", got, err)
	}
}
