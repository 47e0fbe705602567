package kube

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube/kubetest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

const (
	testVolume = "rds/csi-0123456789abcdef0123456789ab"
	testSlot   = "csi-0123456789abcdef0123456789ab"
	testNQN    = "nqn.2000-02.com.mikrotik:csi-0123456789abcdef0123456789ab.0a1b2c3d"
)

func attachmentOf(handle string) kubetest.Attachment {
	return kubetest.Attachment{
		Driver: "rds.csi.srvlab.io", Node: "node-a", Handle: handle, UID: "uid-1", PV: "pv-1", Published: map[string]string{"nqn": testNQN},
	}
}

func attachments(t *testing.T, s *kubetest.Server) *Attachments {
	return NewAttachments(open(t, s), "rds.csi.srvlab.io", "node-a")
}

func isTestNQN(context map[string]string) bool { return context["nqn"] == testNQN }

// attachedCluster is a server with the VolumeAttachment of the handle, and what was seen of that.
func attachedCluster(t *testing.T, handle string) (*kubetest.Server, *Attachments, stage.Attachment) {
	t.Helper()
	s := kubetest.Start(t)
	s.Put(kubetest.KubeSystem, kubetest.Namespace("cluster-1"))
	va := attachmentOf(handle)
	s.Put(va.Path(), va.Object())
	a := attachments(t, s)
	seen, found, err := a.Find(t.Context(), testVolume, isTestNQN)
	if err != nil || !found {
		t.Fatalf("found %t, %v", found, err)
	}
	return s, a, seen
}

// The name is a contract with the external-attacher: printf 'rds/vrds.csi.srvlab.ionode-a' | sha256sum.
func TestTheNameOfAVolumeAttachment(t *testing.T) {
	names := (&Attachments{driver: "rds.csi.srvlab.io", node: "node-a"}).names("rds/v")
	want := []string{
		"csi-eaa88d2f10fc9bc909495c6ed0fc0e5c1104163f70b2aa8a1e965d98eeda18ac",
		"csi-4af54e403618ccca93d6b1ed1c61a0302bda6716fa5366e14438f4a36e2e488a",
	}
	if len(names) != 2 || names[0] != want[0] || names[1] != want[1] {
		t.Errorf("names %q, want %q", names, want)
	}
	if short := (&Attachments{driver: "rds.csi.srvlab.io", node: "node-a"}).names("v"); len(short) != 1 || short[0] != want[1] {
		t.Errorf("names of the short form: %q", short)
	}
}

func TestFindTakesOnlyTheVeryAttachment(t *testing.T) {
	for name, change := range map[string]func(*kubetest.Attachment){
		"another NQN":   func(a *kubetest.Attachment) { a.Published = map[string]string{"nqn": testNQN + "0"} },
		"not published": func(a *kubetest.Attachment) { a.Published = nil },
		"no UID":        func(a *kubetest.Attachment) { a.UID = "" },
	} {
		t.Run(name, func(t *testing.T) {
			s := kubetest.Start(t)
			s.Put(kubetest.KubeSystem, kubetest.Namespace("cluster-1"))
			va := attachmentOf(testVolume)
			change(&va)
			s.Put(va.Path(), va.Object())
			if seen, found, err := attachments(t, s).Find(t.Context(), testVolume, isTestNQN); found || err != nil {
				t.Errorf("found %+v, %v", seen, err)
			}
		})
	}
	for _, handle := range []string{testVolume, testSlot} {
		_, _, seen := attachedCluster(t, handle)
		want := stage.Attachment{Name: attachmentOf(handle).Path()[len("/apis/storage.k8s.io/v1/volumeattachments/"):], UID: "uid-1", PV: "pv-1", Cluster: "cluster-1"}
		if seen != want {
			t.Errorf("seen %+v, want %+v", seen, want)
		}
	}
}

func TestAnAttachmentThatWasDeletedIsGone(t *testing.T) {
	for _, handle := range []string{testVolume, testSlot} {
		s, a, seen := attachedCluster(t, handle)
		if gone, err := a.Gone(t.Context(), testVolume, seen); gone || err != nil {
			t.Errorf("while it is there: %t, %v", gone, err)
		}
		s.Remove(attachmentOf(handle).Path())
		before := len(s.Seen())
		if gone, err := a.Gone(t.Context(), testVolume, seen); !gone || err != nil {
			t.Errorf("after it was deleted: %t, %v", gone, err)
		}
		for _, r := range s.Seen()[before:] {
			if r.Method != http.MethodGet || strings.Contains(r.URI, "resourceVersion") || strings.Contains(r.URI, "watch") {
				t.Errorf("%s %s may be answered from a cache", r.Method, r.URI)
			}
		}
	}
}

// Everything but the API server's own word proves nothing.
func TestWhatDoesNotProveThatAnAttachmentIsGone(t *testing.T) {
	long, short := attachmentOf(testVolume).Path(), attachmentOf(testSlot).Path()
	for name, doubt := range map[string]func(s *kubetest.Server, seen *stage.Attachment){
		"forbidden":            func(s *kubetest.Server, _ *stage.Attachment) { s.Answer(long, kubetest.Forbidden) },
		"unauthorized":         func(s *kubetest.Server, _ *stage.Attachment) { s.Answer(long, code(http.StatusUnauthorized)) },
		"server error":         func(s *kubetest.Server, _ *stage.Attachment) { s.Answer(long, code(http.StatusInternalServerError)) },
		"gone (410)":           func(s *kubetest.Server, _ *stage.Attachment) { s.Answer(long, code(http.StatusGone)) },
		"no upstream":          func(s *kubetest.Server, _ *stage.Attachment) { s.Answer(long, kubetest.Away) },
		"404 of no API server": func(s *kubetest.Server, _ *stage.Attachment) { s.Answer(long, kubetest.NoSuchPath) },
		"404 without a body":   func(s *kubetest.Server, _ *stage.Attachment) { s.Answer(long, code(http.StatusNotFound)) },
		"404 of another name":  func(s *kubetest.Server, _ *stage.Attachment) { s.Answer(long, notFoundOf(short)) },
		"404 of another kind": func(s *kubetest.Server, _ *stage.Attachment) {
			s.Answer(long, notFoundOf(strings.Replace(long, "volumeattachments", "csinodes", 1)))
		},
		"404 of another group": func(s *kubetest.Server, _ *stage.Attachment) {
			s.Answer(long, notFoundOf(strings.Replace(long, "storage.k8s.io", "example.com", 1)))
		},
		"200 without an object":    func(s *kubetest.Server, _ *stage.Attachment) { s.Answer(long, code(http.StatusOK)) },
		"the short name is there":  func(s *kubetest.Server, _ *stage.Attachment) { s.Put(short, attachmentOf(testSlot).Object()) },
		"the short name is hidden": func(s *kubetest.Server, _ *stage.Attachment) { s.Answer(short, kubetest.Forbidden) },
		"made anew": func(s *kubetest.Server, _ *stage.Attachment) {
			again := attachmentOf(testVolume)
			again.UID, again.Published = "uid-2", map[string]string{"nqn": testNQN + "0"}
			s.Put(long, again.Object())
		},
		"being deleted": func(s *kubetest.Server, _ *stage.Attachment) {
			s.Put(long, deleting(attachmentOf(testVolume)))
		},
		"another cluster": func(s *kubetest.Server, _ *stage.Attachment) {
			s.Put(kubetest.KubeSystem, kubetest.Namespace("cluster-2"))
		},
		"a cluster that does not tell its UID": func(s *kubetest.Server, _ *stage.Attachment) {
			s.Answer(kubetest.KubeSystem, kubetest.Forbidden)
		},
		"none was seen":                 func(_ *kubetest.Server, seen *stage.Attachment) { *seen = stage.Attachment{} },
		"seen without a cluster":        func(_ *kubetest.Server, seen *stage.Attachment) { seen.Cluster = "" },
		"seen of another driver's name": func(_ *kubetest.Server, seen *stage.Attachment) { seen.Name = "csi-00" },
	} {
		t.Run(name, func(t *testing.T) {
			s, a, seen := attachedCluster(t, testVolume)
			s.Remove(long)
			doubt(s, &seen)
			if gone, err := a.Gone(t.Context(), testVolume, seen); gone {
				t.Errorf("taken for gone, %v", err)
			}
		})
	}
}

// An address may lead to another cluster between two requests.
func TestTheClusterHasToBeTheSameBeforeAndAfter(t *testing.T) {
	for name, uids := range map[string][]string{"another before": {"cluster-2", "cluster-1"}, "another after": {"cluster-1", "cluster-2"}} {
		t.Run(name, func(t *testing.T) {
			s, a, seen := attachedCluster(t, testVolume)
			s.Remove(attachmentOf(testVolume).Path())
			left := uids
			s.Answer(kubetest.KubeSystem, func(w http.ResponseWriter, _ *http.Request) {
				kubetest.WriteJSON(w, http.StatusOK, kubetest.Namespace(left[0]))
				left = left[1:]
			})
			if gone, err := a.Gone(t.Context(), testVolume, seen); gone || err != nil {
				t.Errorf("gone %t, %v", gone, err)
			}
		})
	}
}

func TestAnAPIServerThatHangsProvesNothing(t *testing.T) {
	s, a, seen := attachedCluster(t, testVolume)
	s.Answer(attachmentOf(testVolume).Path(), kubetest.Hang(t))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if gone, err := a.Gone(ctx, testVolume, seen); gone || err == nil {
		t.Errorf("gone %t, %v", gone, err)
	}
}

func TestFindFailsWhereTheAPIServerDoes(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{"forbidden": kubetest.Forbidden, "away": kubetest.Away} {
		s := kubetest.Start(t)
		s.Answer(attachmentOf(testVolume).Path(), answer)
		if _, found, err := attachments(t, s).Find(t.Context(), testVolume, isTestNQN); found || err == nil || strings.Contains(err.Error(), kubetest.Token) {
			t.Errorf("%s: found %t, %v", name, found, err)
		}
	}
}

func code(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func notFoundOf(path string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		other := *r.URL
		other.Path = path
		kubetest.NotFound(w, &http.Request{URL: &other})
	}
}

// deleting is one whose finalizer the external-attacher still holds: it has not unpublished the volume yet.
func deleting(a kubetest.Attachment) any {
	object := maps.Clone(a.Object().(map[string]any))
	meta := maps.Clone(object["metadata"].(map[string]any))
	meta["deletionTimestamp"] = "2026-11-26T12:00:00Z"
	object["metadata"] = meta
	return object
}
