package driver

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/stage"
	"git.srvlab.io/whiskey/rds-csi-driver/telemetry"
)

// tell posts an event, if somebody takes it. Messages name no NQN: it has the fence token, and whoever may
// read a namespace reads its events.
func (n *node) tell(r *stage.Record, reason telemetry.EventReason, format string, args ...any) {
	if n.cfg.Events != nil {
		n.cfg.Events.Volume(r, reason, fmt.Sprintf(format, args...))
	}
}

// tellStale is for a volume that was just found stale.
func (n *node) tellStale(c Condition) {
	r, found, err := n.load(c.VolumeID)
	if err != nil || !found {
		return
	}
	n.tell(r, telemetry.EventStaleMount, "volume %s on node %s is stale (%s): %s", c.VolumeID, n.cfg.ID.Name, c.Reason, c.Detail)
}

func (n *node) tellRecovered(r *stage.Record) {
	n.tell(r, telemetry.EventStaleMountRecovered, "volume %s on node %s is mounted anew; a container that was running has the dead copy until it restarts",
		r.VolumeID, n.cfg.ID.Name)
}

func (n *node) tellFenced(r *stage.Record, proof string) {
	n.tell(r, telemetry.EventVolumeFenced, "volume %s was taken from node %s (%s): what the node had not written yet was dropped",
		r.VolumeID, n.cfg.ID.Name, proof)
}

// tellRefused is for a stage that met data where it wanted a file system: only a person can mend that.
func (n *node) tellRefused(ctx context.Context, r *stage.Record, err error) {
	if fault.ReasonOf(err) == fault.FSNotBlank && ctx.Err() == nil {
		n.tell(r, telemetry.EventFormatRefused, "volume %s is not formatted on node %s: %s", r.VolumeID, n.cfg.ID.Name, err)
	}
}

// Keys by which kubelet names the Pod, where the CSIDriver asks for it (podInfoOnMount).
const (
	keyPodName      = "csi.storage.k8s.io/pod.name"
	keyPodNamespace = "csi.storage.k8s.io/pod.namespace"
	keyPodUID       = "csi.storage.k8s.io/pod.uid"
)

func podOf(req *csi.NodePublishVolumeRequest) stage.Pod {
	context := req.GetVolumeContext()
	return stage.Pod{Namespace: context[keyPodNamespace], Name: context[keyPodName], UID: context[keyPodUID]}
}
