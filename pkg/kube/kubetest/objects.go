package kubetest

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
)

type object = map[string]any

// KubeSystem is the path of the namespace whose UID is the cluster's.
const KubeSystem = "/api/v1/namespaces/kube-system"

// Namespace is kube-system of a cluster.
func Namespace(uid string) any {
	return object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": "kube-system", "uid": uid}}
}

// Attachment is what a test says of a VolumeAttachment.
type Attachment struct {
	Driver, Node, Handle, UID, PV string
	Published                     map[string]string // the publish context
}

// Path is where the API server has it: the external-attacher names it by handle, driver and node.
func (a Attachment) Path() string {
	return "/apis/storage.k8s.io/v1/volumeattachments/" + a.name()
}

func (a Attachment) name() string {
	return fmt.Sprintf("csi-%x", sha256.Sum256([]byte(a.Handle+a.Driver+a.Node)))
}

// Object is the VolumeAttachment as the API server shows it.
func (a Attachment) Object() any {
	return object{
		"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": object{"name": a.name(), "uid": a.UID},
		"spec":   object{"attacher": a.Driver, "nodeName": a.Node, "source": object{"persistentVolumeName": a.PV}},
		"status": object{"attached": true, "attachmentMetadata": a.Published},
	}
}

// PVPath is the path of a PersistentVolume.
func PVPath(name string) string { return "/api/v1/persistentvolumes/" + name }

// PVsPath is the path of all of them.
const PVsPath = "/api/v1/persistentvolumes"

// PVs answers with the list of PersistentVolumes, in the pages that the client asks for. Its continue token is
// where the next page begins.
func PVs(all ...any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
		if err != nil {
			limit = len(all)
		}
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		to, meta := min(from+limit, len(all)), object{"resourceVersion": "4711"}
		if to < len(all) {
			meta["continue"], meta["remainingItemCount"] = strconv.Itoa(to), len(all)-to
		}
		WriteJSON(w, http.StatusOK, object{"apiVersion": "v1", "kind": "PersistentVolumeList", "metadata": meta, "items": append([]any{}, all[from:to]...)})
	}
}

// PV is a PersistentVolume that is bound to a claim.
func PV(name, driver, handle, namespace, claim, claimUID string) any {
	return object{
		"apiVersion": "v1", "kind": "PersistentVolume", "metadata": object{"name": name},
		"spec": object{
			"csi":      object{"driver": driver, "volumeHandle": handle},
			"claimRef": object{"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": namespace, "name": claim, "uid": claimUID},
		},
	}
}
