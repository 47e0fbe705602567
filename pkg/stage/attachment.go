package stage

// Attachment is the VolumeAttachment by which Kubernetes published a volume to this node, seen while it was
// there and of this very NQN: that one existed. Its absence means nothing otherwise.
type Attachment struct {
	Name    string `json:"name"`
	UID     string `json:"uid"`
	PV      string `json:"pv"`      // PersistentVolume
	Cluster string `json:"cluster"` // UID of the cluster whose API server showed it
}

// Pod is who a volume is published for, where kubelet says so (podInfoOnMount).
type Pod struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}
