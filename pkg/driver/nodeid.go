package driver

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

// maxNodeID is the longest node id in bytes: Kubernetes before 1.18 and CSI allow 192 and 256.
const maxNodeID = 192

const hostNQNPrefix = "nqn.2014-08.org.nvmexpress:uuid:"

var validNodeName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

// NodeID is "<node name>/<u>". Two nodes never share u, also when they were cloned from one image
// with one /etc/nvme/hostnqn, so the array can tell them apart.
type NodeID struct {
	Name string
	U    uuid.UUID
}

// NewNodeID derives a node's id. machineID is the DMI product UUID or /etc/machine-id.
func NewNodeID(driverName, clusterID, nodeName, machineID string) (NodeID, error) {
	if !ValidNodeName(nodeName) {
		return NodeID{}, fmt.Errorf("node name %q is no DNS name of at most %d bytes", nodeName, maxNodeName)
	}
	seed := strings.Join([]string{driverName, clusterID, nodeName, machineID}, "\x00")
	return NodeID{Name: nodeName, U: uuid.NewSHA1(uuid.NameSpaceOID, []byte(seed))}, nil
}

// maxNodeName leaves room for the slash and the UUID.
const maxNodeName = maxNodeID - 37

// ValidNodeName tells whether name can be a node's name in node ids.
func ValidNodeName(name string) bool {
	return len(name) <= maxNodeName && validNodeName.MatchString(name)
}

func parseNodeID(s string) (NodeID, error) {
	name, text, ok := strings.Cut(s, "/")
	u, err := uuid.Parse(text)
	if !ok || err != nil || len(s) > maxNodeID || u.String() != text || !validNodeName.MatchString(name) {
		return NodeID{}, fault.Errorf("node_id", fault.NotFound, "%.200q is no node id of this driver (<node name>/<uuid>)", s)
	}
	return NodeID{Name: name, U: u}, nil
}

func (n NodeID) String() string { return n.Name + "/" + n.U.String() }

// HostNQN is what the node calls itself to the array.
func (n NodeID) HostNQN() string { return hostNQNPrefix + n.U.String() }

// HostID is the NVMe host identifier that goes with the host NQN.
func (n NodeID) HostID() string { return n.U.String() }
