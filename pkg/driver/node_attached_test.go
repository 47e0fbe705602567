package driver

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube/kubetest"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// cluster is an API server that node a of a rig talks to.
type cluster struct {
	*kubetest.Server
	t *testing.T
	r *rig
}

func newCluster(t *testing.T, r *rig) *cluster {
	t.Helper()
	c := &cluster{Server: kubetest.Start(t), t: t, r: r}
	c.Put(kubetest.KubeSystem, kubetest.Namespace("cluster-1"))
	client, err := kube.Open(c.Kubeconfig(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	r.a.kubernetes = kube.NewAttachments(client, testDriver, r.a.id.Name)
	r.a.events = runEvents(t, client, r.a.id.Name)
	r.a.boot()
	return c
}

// attachment is the VolumeAttachment of a volume that is published to node a.
func (c *cluster) attachment(v *volume, handle string) kubetest.Attachment {
	return kubetest.Attachment{Driver: testDriver, Node: c.r.a.id.Name, Handle: handle, UID: "uid of " + v.nqn(), PV: "pv-" + v.slot(), Published: v.published}
}

func (c *cluster) attach(v *volume) {
	a := c.attachment(v, v.VolumeId)
	c.Put(a.Path(), a.Object())
}

func (c *cluster) detach(v *volume) { c.Remove(c.attachment(v, v.VolumeId).Path()) }

// ask lets the node ask Kubernetes about its volumes, as if they had been staged a while ago.
func (c *cluster) ask() error {
	c.t.Helper()
	records := c.r.a.config().Records
	for _, r := range c.r.a.records() {
		if r.StagedAt.IsZero() {
			continue
		}
		r.StagedAt = r.StagedAt.Add(-2 * attachedAfter)
		if err := records.Save(r); err != nil {
			c.t.Fatal(err)
		}
	}
	return c.r.a.driver.Staged().AskKubernetes(soon(c.t))
}

func (c *cluster) mustAsk() {
	c.t.Helper()
	if err := c.ask(); err != nil {
		c.t.Fatal(err)
	}
}

// attachedSeen is a staged and published volume whose VolumeAttachment the node has seen.
func attachedSeen(t *testing.T, fs string) (*rig, *cluster, *volume) {
	t.Helper()
	r := newRig(t)
	c := newCluster(t, r)
	v := r.attached(t, "v", mounted(fs, singleWriter))
	wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
	c.attach(v)
	c.mustAsk()
	if seen := r.a.records()[0].Attachment; seen == nil || seen.UID != "uid of "+v.nqn() || seen.PV != "pv-"+v.slot() || seen.Cluster != "cluster-1" {
		t.Fatalf("seen %+v", seen)
	}
	return r, c, v
}

// cutOff is what happens to a node that does not answer: the volume is taken from it, and its session ends.
func cutOff(t *testing.T, r *rig, v *volume) {
	t.Helper()
	wantCode(t, v.unpublishFrom(r.a), codes.OK)
	r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "connecting")
}

func TestAVolumeThatKubernetesHasDetachedIsLetGoOf(t *testing.T) {
	for _, lost := range []string{"connecting", "gone"} {
		t.Run(lost, func(t *testing.T) {
			r, c, v := attachedSeen(t, "ext4")
			cutOff(t, r, v)
			if lost == "gone" {
				r.a.lose(v.nqn())
			}
			c.detach(v)
			c.mustAsk()
			if cond := r.a.condition(t, v); !cond.Revoked || cond.Release {
				t.Fatalf("condition %+v", cond)
			}
			r.a.mayRevoke(v.nqn())
			r.a.effects.arm(0, 0, nil)
			if err := r.a.heal(t, v); err != nil {
				t.Fatal(err)
			}
			steps := r.a.effects.seen()
			away, unmounted := slices.Index(steps, "write delete_controller"), slices.Index(steps, "umount")
			if lost == "connecting" && (away < 0 || away > unmounted) {
				t.Errorf("steps %q: the controller goes first", steps)
			}
			if slices.Contains(steps, "connect") {
				t.Errorf("steps %q: nothing is connected", steps)
			}
			r.a.mustBeClean(t)
			if r.a.logs.FilterMessage("a volume that was taken from this node is let go of").Len() != 1 {
				t.Error("the log does not say that it was let go of")
			}
			wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK) // kubelet's part comes later
			wantCode(t, v.unstage(r.a), codes.OK)
			wantCode(t, v.publishTo(r.a), codes.OK) // and it can come back
			wantCode(t, v.stage(r.a), codes.OK)
		})
	}
}

// A plugin that was restarted since knows from the record that there was a VolumeAttachment.
func TestTheProofOutlivesThePlugin(t *testing.T) {
	r, c, v := attachedSeen(t, "ext4")
	r.a.boot()
	wantCode(t, v.stage(r.a), codes.OK) // kubelet restarted, too: the record is written anew
	cutOff(t, r, v)
	c.detach(v)
	c.mustAsk()
	r.a.mayRevoke(v.nqn())
	if err := r.a.heal(t, v); err != nil {
		t.Fatal(err)
	}
	if r.a.controllerOf(v.nqn()) != "" {
		t.Error("it is still connecting")
	}
}

// untouched fails the test if the attachment is not as it was.
func untouched(t *testing.T, r *rig, v *volume) {
	t.Helper()
	_ = r.a.heal(t, v)
	if err := r.a.driver.Staged().Unblock(soon(t), v.VolumeId); err != nil {
		t.Error(err)
	}
	if r.a.controllerOf(v.nqn()) == "" || len(r.a.table()) != 2 || len(r.a.records()) != 1 {
		t.Errorf("controller %q, mounts %+v, records %d: unsynced data was dropped without proof", r.a.controllerOf(v.nqn()), r.a.table(), len(r.a.records()))
	}
}

func TestWhatIsNotProvenReleasesNothing(t *testing.T) {
	for name, doubt := range map[string]func(c *cluster, v *volume){
		"the attachment is there": func(*cluster, *volume) {},
		"forbidden":               func(c *cluster, v *volume) { c.Answer(c.attachment(v, v.VolumeId).Path(), kubetest.Forbidden) },
		"away":                    func(c *cluster, v *volume) { c.Answer(c.attachment(v, v.VolumeId).Path(), kubetest.Away) },
		"no such API":             func(c *cluster, v *volume) { c.Answer(c.attachment(v, v.VolumeId).Path(), http.NotFound) },
		"made anew": func(c *cluster, v *volume) {
			again := c.attachment(v, v.VolumeId)
			again.UID = "another"
			c.Put(again.Path(), again.Object())
		},
		"there by its short handle": func(c *cluster, v *volume) {
			c.detach(v)
			short := c.attachment(v, v.slot())
			c.Put(short.Path(), short.Object())
		},
		"another cluster": func(c *cluster, v *volume) {
			c.detach(v)
			c.Put(kubetest.KubeSystem, kubetest.Namespace("cluster-2"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, c, v := attachedSeen(t, "ext4")
			r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "connecting")
			doubt(c, v)
			err := c.ask()
			if cond := r.a.condition(t, v); cond.Revoked {
				t.Errorf("condition %+v, %v", cond, err)
			}
			untouched(t, r, v)
		})
	}
}

// What was true when it was last asked need not be true any more.
func TestTheProofIsAskedForAgainBeforeItIsUsed(t *testing.T) {
	for name, change := range map[string]func(r *rig, c *cluster, v *volume){
		"attached again":   func(_ *rig, c *cluster, v *volume) { c.attach(v) },
		"API server away":  func(_ *rig, c *cluster, v *volume) { c.Answer(c.attachment(v, v.VolumeId).Path(), kubetest.Away) },
		"connected by now": func(r *rig, _ *cluster, v *volume) { r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "live") },
	} {
		t.Run(name, func(t *testing.T) {
			r, c, v := attachedSeen(t, "ext4")
			r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "connecting")
			c.detach(v)
			c.mustAsk()
			if !r.a.condition(t, v).Revoked {
				t.Fatal("it is not taken for revoked")
			}
			change(r, c, v)
			untouched(t, r, v)
			if r.a.condition(t, v).Revoked == (name != "API server away") { // which says nothing: it is asked again
				t.Error("the answer was not taken for what it says")
			}
		})
	}
}

// A healthy volume is never asked about, whatever Kubernetes would say.
func TestAVolumeThatIsConnectedIsLeftAlone(t *testing.T) {
	r, c, v := attachedSeen(t, "ext4")
	c.detach(v)
	before := len(c.Seen())
	c.mustAsk()
	if n := len(c.Seen()) - before; n != 0 {
		t.Errorf("%d questions about a healthy volume", n)
	}
	if r.a.condition(t, v).Revoked {
		t.Error("it is taken for revoked")
	}
	untouched(t, r, v)
	r.a.mustBe(t, v, telemetry.MountHealthy, "", false)
}

// A CO without VolumeAttachments (attachRequired: false, or none at all), one of another NQN, and one that is
// not published yet: none is the evidence that there was one.
func TestWithoutAnAttachmentSeenItsAbsenceMeansNothing(t *testing.T) {
	for name, show := range map[string]func(c *cluster, v *volume){
		"none": func(*cluster, *volume) {},
		"of another NQN": func(c *cluster, v *volume) {
			other := c.attachment(v, v.VolumeId)
			other.Published = map[string]string{keyNQN: v.nqn() + "0"}
			c.Put(other.Path(), other.Object())
		},
		"not published": func(c *cluster, v *volume) {
			other := c.attachment(v, v.VolumeId)
			other.Published = nil
			c.Put(other.Path(), other.Object())
		},
		"hidden": func(c *cluster, v *volume) { c.Answer(c.attachment(v, v.VolumeId).Path(), kubetest.Forbidden) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c := newCluster(t, r)
			v := r.attached(t, "v", mounted("ext4", singleWriter))
			wantCode(t, v.nodePublish(r.a, "pod"), codes.OK)
			show(c, v)
			_ = c.ask()
			r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "connecting")
			c.detach(v)
			c.mustAsk()
			if r.a.records()[0].Attachment != nil || r.a.condition(t, v).Revoked {
				t.Error("it is taken for revoked")
			}
			untouched(t, r, v)
		})
	}
}

// kubelet's next call comes right after the stage, and must not find the volume taken by a note.
func TestTheAttachmentOfAFreshVolumeIsNotLookedFor(t *testing.T) {
	r := newRig(t)
	c := newCluster(t, r)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	c.attach(v)
	if err := r.a.driver.Staged().AskKubernetes(soon(t)); err != nil || len(c.Seen()) != 0 {
		t.Errorf("asked %v, %v", c.Seen(), err)
	}
	c.mustAsk()
	asked := len(c.Seen())
	c.mustAsk() // and once it is known, not again
	if len(c.Seen()) != asked || r.a.records()[0].Attachment == nil {
		t.Errorf("asked again: %v", c.Seen()[asked:])
	}
}

// Beside a call nothing is noted, and nothing that the call has written is lost.
func TestTheNoteMakesWayForACall(t *testing.T) {
	r := newRig(t)
	c := newCluster(t, r)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	c.attach(v)
	end, err := r.a.driver.nodeOps.begin(v.VolumeId, "publish")
	if err != nil {
		t.Fatal(err)
	}
	c.mustAsk()
	if r.a.records()[0].Attachment != nil {
		t.Error("the record was written beside a call")
	}
	end()
	c.mustAsk()
	if r.a.records()[0].Attachment == nil {
		t.Error("nothing was noted")
	}
}

// The answer may come when the volume is attached anew already: it is not of that attachment.
func TestANoteIsForOneNQNOnly(t *testing.T) {
	r := newRig(t)
	c := newCluster(t, r)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	a := c.attachment(v, v.VolumeId)
	c.Answer(a.Path(), func(w http.ResponseWriter, _ *http.Request) {
		record := r.a.records()[0]
		record.NQN += "0"
		if err := r.a.config().Records.Save(record); err != nil {
			t.Error(err)
		}
		kubetest.WriteJSON(w, http.StatusOK, a.Object())
	})
	c.mustAsk()
	if seen := r.a.records()[0].Attachment; seen != nil {
		t.Errorf("noted %+v", seen)
	}
}

// The unmount of a fenced volume hangs with the volume's lock: the proof ends what it hangs on.
func TestACallThatHangsOnADetachedVolumeIsUnblocked(t *testing.T) {
	r, c, v := attachedSeen(t, "ext4")
	release := r.a.mounts.Hang("umount", v.target(r.a, "pod"))
	done := make(chan error, 1)
	go func() { done <- v.nodeUnpublish(r.a, "pod") }()
	waitFor(t, "umount", func() bool { return slices.Contains(r.a.effects.seen(), "umount") })
	cutOff(t, r, v)
	c.detach(v)
	c.mustAsk()
	if cond := r.a.condition(t, v); !cond.Busy || !cond.Revoked {
		t.Fatalf("condition %+v", cond)
	}
	r.a.mayRevoke(v.nqn())
	if err := r.a.driver.Staged().Unblock(soon(t), v.VolumeId); err != nil {
		t.Fatal(err)
	}
	if r.a.controllerOf(v.nqn()) != "" {
		t.Error("it still waits for the array")
	}
	if lines := r.a.logs.FilterMessage("fenced, unsynced data dropped").All(); len(lines) != 1 || !strings.Contains(lines[0].ContextMap()["reason"].(string), "VolumeAttachment") {
		t.Errorf("log lines %v", lines)
	}
	release() // as the kernel does when the device is gone
	<-done
	if err := r.a.heal(t, v); err != nil {
		t.Error(err)
	}
	waitFor(t, "the end of it", func() bool { return len(r.a.records()) == 0 })
	r.a.mustBeClean(t)
}

// The last unmount is the one that waits for the array, and the record does not say any more that it is staged.
func TestAnUnstageThatHangsOnADetachedVolumeIsEnded(t *testing.T) {
	r, c, v := attachedSeen(t, "ext4")
	wantCode(t, v.nodeUnpublish(r.a, "pod"), codes.OK)
	release := r.a.mounts.Hang("umount", v.stagingPath(r.a))
	cutOff(t, r, v)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := r.a.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: v.VolumeId, StagingTargetPath: v.stagingPath(r.a)})
	if err == nil {
		t.Fatal("it did not hang")
	}
	c.mustAsk()
	if all, err := r.a.driver.Staged().Look(soon(t)); err != nil || len(all) != 0 {
		t.Errorf("while it is attached: %+v, %v", all, err)
	}
	c.detach(v)
	if err := r.a.driver.Staged().AskKubernetes(soon(t)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end of the call", func() bool { return !r.a.driver.nodeOps.busy(v.VolumeId) })
	if cond := r.a.condition(t, v); !cond.Revoked {
		t.Fatalf("condition %+v", cond)
	}
	r.a.mayRevoke(v.nqn())
	healed := make(chan error, 1)
	go func() { healed <- r.a.heal(t, v) }()
	waitFor(t, "the controller to go", func() bool { return r.a.controllerOf(v.nqn()) == "" })
	release() // as the kernel does when the device is gone
	<-healed
	waitFor(t, "the end of it", func() bool { _ = r.a.heal(t, v); return len(r.a.records()) == 0 })
	r.a.mustBeClean(t)
}

// An attachment under a name that this machine had before is not what Kubernetes speaks of.
func TestAnAttachmentOfAnEarlierIdentityIsLeftAlone(t *testing.T) {
	r, c, v := attachedSeen(t, "ext4")
	r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "connecting")
	c.detach(v)
	record := r.a.records()[0]
	record.HostNQN += "0"
	if err := r.a.config().Records.Save(record); err != nil {
		t.Fatal(err)
	}
	c.mustAsk()
	if r.a.condition(t, v).Revoked {
		t.Error("it is taken for revoked")
	}
}

// What an earlier boot had staged is not on the node any more: nothing is asked, and nothing done.
func TestARecordOfAnEarlierBootIsNotAskedAbout(t *testing.T) {
	r, c, v := attachedSeen(t, "ext4")
	r.a.reboot()
	c.detach(v)
	before := len(c.Seen())
	c.mustAsk()
	if len(c.Seen()) != before {
		t.Errorf("asked %v", c.Seen()[before:])
	}
	if records := r.a.records(); len(records) != 1 {
		t.Errorf("records %+v", records)
	}
}

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

var _ Attachments = (*kube.Attachments)(nil)
