package driver

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube/kubetest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

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

var _ Attachments = (*kube.Attachments)(nil)
