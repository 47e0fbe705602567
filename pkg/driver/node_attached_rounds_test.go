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
