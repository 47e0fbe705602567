package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/kube/kubetest"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// runEvents posts a node's events until the test ends.
func runEvents(t *testing.T, client *kube.Client, node string) *kube.Events {
	t.Helper()
	e := kube.NewEvents(kube.EventsConfig{Client: client, Driver: testDriver, Node: node, Metrics: telemetry.Noop(), Log: zap.NewNop()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return e
}

// posted are the events so far, as reason kind/name: message.
func (c *cluster) posted() []string {
	c.t.Helper()
	var all []string
	for _, r := range c.Seen() {
		if r.Method != http.MethodPost {
			continue
		}
		var e struct {
			Reason, Message string
			InvolvedObject  struct{ Kind, Name string }
		}
		if err := json.Unmarshal([]byte(r.Body), &e); err != nil {
			c.t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %s/%s: %s", e.Reason, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Message))
	}
	return all
}

// awaitEvents waits for one event of the reason on each of these objects.
func (c *cluster) awaitEvents(reason telemetry.EventReason, objects ...string) {
	c.t.Helper()
	for _, object := range objects {
		start := string(reason) + " " + object + ": "
		waitFor(c.t, start, func() bool {
			return slices.ContainsFunc(c.posted(), func(e string) bool { return strings.HasPrefix(e, start) })
		})
	}
}

// claimed binds the volume's PersistentVolume to a claim called data.
func (c *cluster) claimed(v *volume) {
	c.attach(v)
	pv := "pv-" + v.slot()
	c.Put(kubetest.PVPath(pv), kubetest.PV(pv, testDriver, v.VolumeId, "shop", "data", "claim-uid"))
}

// publishFor publishes for a Pod as kubelet names it.
func (v *volume) publishFor(m *machine, pod string) error {
	v.t.Helper()
	req := v.nodePublishRequest(m, pod)
	context := map[string]string{keyPodName: pod, keyPodNamespace: "shop", keyPodUID: pod + "-uid"}
	for key, value := range v.VolumeContext {
		context[key] = value
	}
	req.VolumeContext = context
	_, err := m.NodePublishVolume(soon(v.t), req)
	return err
}

const onClaim, onPod = "PersistentVolumeClaim/data", "Pod/web-0"

func TestALossAndItsRecoveryAreToldOnceEach(t *testing.T) {
	r := newRig(t)
	c := newCluster(t, r)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	c.claimed(v)
	wantCode(t, v.publishFor(r.a, "web-0"), codes.OK)
	r.a.lose(v.nqn())
	for range 3 {
		r.a.condition(t, v)
	}
	c.awaitEvents(telemetry.EventStaleMount, onClaim, onPod)
	r.a.mustHeal(t, v)
	c.awaitEvents(telemetry.EventStaleMountRecovered, onClaim, onPod)
	if all := c.posted(); len(all) != 4 {
		t.Errorf("posted %q", all)
	}
	r.a.boot() // a plugin that was restarted knows the Pod from its record
	r.a.lose(v.nqn())
	r.a.condition(t, v)
	waitFor(t, "the event of a new plugin", func() bool { return len(c.Seen()) > 0 && strings.Count(strings.Join(c.posted(), " "), onPod) >= 2 })
}

func TestAFenceIsTold(t *testing.T) {
	r, c, v := attachedSeen(t, "ext4")
	c.claimed(v)
	cutOff(t, r, v)
	c.detach(v)
	c.mustAsk()
	r.a.mayRevoke(v.nqn())
	if err := r.a.heal(t, v); err != nil {
		t.Fatal(err)
	}
	c.awaitEvents(telemetry.EventVolumeFenced, onClaim, "Node/"+r.a.id.Name)
	if all := strings.Join(c.posted(), "\n"); !strings.Contains(all, notAttached) || !strings.Contains(all, "dropped") {
		t.Errorf("posted %s", all)
	}
}

func TestARefusedFormatIsTold(t *testing.T) {
	r := newRig(t)
	c := newCluster(t, r)
	v := r.create(t, "v", gib, mounted("ext4", singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	c.claimed(v)
	v.write(0, "somebody's data")
	wantCode(t, v.stage(r.a), codes.FailedPrecondition)
	c.awaitEvents(telemetry.EventFormatRefused, onClaim)
}

// A Kubernetes that does not answer delays and fails no call.
func TestEventsDelayNoCall(t *testing.T) {
	r := newRig(t)
	c := newCluster(t, r)
	v := r.attached(t, "v", mounted("ext4", singleWriter))
	c.Answer(c.attachment(v, v.VolumeId).Path(), kubetest.Hang(t))
	r.a.lose(v.nqn())
	r.a.condition(t, v)
	r.a.mustHeal(t, v)
	wantCode(t, v.publishFor(r.a, "web-0"), codes.OK)
}

// Whoever may read a namespace reads its events: no secret of a call is in them, nor the name a volume is
// connected by, which has the fence token.
func TestSecretsAreInNoEvent(t *testing.T) {
	const canary = "c4n4ry-s3cr3t"
	r := newRig(t)
	c := newCluster(t, r)
	v := r.create(t, "v", gib, mounted("ext4", singleWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	c.claimed(v)
	v.write(0, "somebody's data")
	stage := v.stageRequest(r.a)
	stage.Secrets = map[string]string{"password": canary, canary: "x"}
	_ = v.stage(r.a) // makes the directory
	_, err := r.a.NodeStageVolume(soon(t), stage)
	wantCode(t, err, codes.FailedPrecondition)
	v.write(0, strings.Repeat("\x00", len("somebody's data")))
	_, err = r.a.NodeStageVolume(soon(t), stage)
	wantCode(t, err, codes.OK)
	wantCode(t, v.publishFor(r.a, "web-0"), codes.OK)
	r.a.lose(v.nqn())
	r.a.condition(t, v)
	r.a.mustHeal(t, v)
	c.mustAsk()
	r.a.nvme.SetState(r.a.controllerOf(v.nqn()), "connecting")
	c.detach(v)
	c.mustAsk()
	r.a.mayRevoke(v.nqn())
	if err := r.a.heal(t, v); err != nil {
		t.Fatal(err)
	}
	for _, reason := range []telemetry.EventReason{telemetry.EventFormatRefused, telemetry.EventStaleMount, telemetry.EventStaleMountRecovered, telemetry.EventVolumeFenced} {
		c.awaitEvents(reason, onClaim)
	}
	for _, request := range c.Seen() {
		text := request.URI + request.Body
		for _, secret := range []string{canary, v.nqn(), kubetest.Token} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in %s %s", secret, request.Method, text)
			}
		}
	}
}
