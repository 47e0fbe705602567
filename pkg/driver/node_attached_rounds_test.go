package driver

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube/kubetest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
)

// One object that the API server cannot read keeps no other volume from being released.
func TestOneBadAnswerStarvesNoOtherVolume(t *testing.T) {
	for _, bad := range []int{0, 1} {
		r, c, v := attachedSeen(t, "ext4")
		w := r.attached(t, "w", mounted("ext4", singleWriter))
		wantCode(t, w.nodePublish(r.a, "pod-w"), codes.OK)
		c.attach(w)
		c.mustAsk()
		broken, other := v, w
		if r.a.records()[bad].NQN == w.nqn() {
			broken, other = w, v
		}
		r.a.nvme.SetState(r.a.controllerOf(broken.nqn()), "connecting")
		c.Answer(c.attachment(broken, broken.VolumeId).Path(), func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "etcd: corrupt", 500) })
		cutOff(t, r, other)
		c.detach(other)
		if err := c.ask(); err == nil || !strings.Contains(err.Error(), broken.VolumeId) {
			t.Errorf("the error is %v", err)
		}
		if !r.a.condition(t, other).Revoked || r.a.condition(t, broken).Revoked {
			t.Errorf("revoked %t, the one without an answer %t", r.a.condition(t, other).Revoked, r.a.condition(t, broken).Revoked)
		}
	}
}

// mute is an API server that does not answer questions about one volume.
type mute struct {
	volume string
	asked  []string
}

func (m *mute) Find(context.Context, string, func(map[string]string) bool) (stage.Attachment, bool, error) {
	return stage.Attachment{}, false, nil
}

func (m *mute) Gone(_ context.Context, id string, _ stage.Attachment) (bool, error) {
	m.asked = append(m.asked, id)
	if id == m.volume {
		return false, fault.Errorf("ask", fault.Unavailable, "no answer")
	}
	return false, nil
}

func TestARoundBeginsWhereTheLastOneStopped(t *testing.T) {
	r, c, v := attachedSeen(t, "ext4")
	w := r.attached(t, "w", mounted("ext4", singleWriter))
	c.attach(w)
	c.mustAsk()
	for _, one := range []*volume{v, w} {
		r.a.nvme.SetState(r.a.controllerOf(one.nqn()), "connecting")
	}
	records := r.a.records()
	first, second := records[0].VolumeID, records[1].VolumeID
	api := &mute{volume: first}
	r.a.driver.node.cfg.Attachments = api
	for range 2 {
		if err := c.ask(); err == nil {
			t.Error("no error")
		}
	}
	if want := []string{first, second, first}; !slices.Equal(api.asked, want) {
		t.Errorf("asked %q, want %q", api.asked, want)
	}
}

// What the node's own disk does is no fault of Kubernetes.
func TestANoteThatCannotBeWrittenIsSaidAsSuch(t *testing.T) {
	r := newRig(t)
	c := newCluster(t, r)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	a := c.attachment(v, v.VolumeId)
	c.Answer(a.Path(), func(w http.ResponseWriter, _ *http.Request) {
		files, err := filepath.Glob(filepath.Join(r.a.recordDir(), "*.json"))
		if err != nil || len(files) != 1 || os.WriteFile(files[0], []byte("{"), 0o600) != nil {
			t.Errorf("records %q, %v", files, err)
		}
		kubetest.WriteJSON(w, http.StatusOK, a.Object())
	})
	c.mustAsk()
	if n := r.a.logs.FilterMessageSnippet("cannot be noted in its record").Len(); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// countedLinks counts how often the state of connections is read.
type countedLinks struct {
	Transport
	one, all int
	blind    bool // all at once cannot be told
}

func (l *countedLinks) Status(ctx context.Context, nqn, hostNQN string) (nvme.Status, error) {
	l.one++
	return l.Transport.Status(ctx, nqn, hostNQN)
}

func (l *countedLinks) Statuses(ctx context.Context, hostNQN string) (map[string]nvme.StatusOrError, error) {
	l.all++
	if l.blind {
		return nil, fault.Errorf("list", fault.Unavailable, "a controller without a name")
	}
	return l.Transport.Statuses(ctx, hostNQN)
}

func TestARoundReadsTheConnectionsOnce(t *testing.T) {
	r, c, v := attachedSeen(t, "ext4")
	w := r.attached(t, "w", mounted("ext4", singleWriter))
	c.attach(w)
	c.mustAsk()
	links := &countedLinks{Transport: r.a.driver.node.cfg.NVMe}
	r.a.driver.node.cfg.NVMe = links
	round := func(what string, one int) {
		t.Helper()
		links.one, links.all = 0, 0
		c.mustAsk()
		if links.one != one || links.all != 1 {
			t.Errorf("%s: %d looks at one connection, want %d, and %d at all", what, links.one, one, links.all)
		}
	}
	round("all well", 0)
	cutOff(t, r, v)
	c.detach(v)
	round("one lost", 1) // and that one is not taken for lost by an old look
	if !r.a.condition(t, v).Revoked || r.a.condition(t, w).Revoked {
		t.Error("the wrong one is taken for detached")
	}
	links.blind = true
	round("all at once cannot be told", 3)
}
