package driver

import (
	"fmt"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
)

const defaultFS = "ext4"

func supportedFS() []string { return []string{"btrfs", "ext4", "xfs"} }

func fsTypeOf(c *csi.VolumeCapability) string {
	if fs := c.GetMount().GetFsType(); fs != "" {
		return fs
	}
	return defaultFS
}

// checkCapabilities is nil if a volume can be used in all the ways that are asked for.
func checkCapabilities(caps []*csi.VolumeCapability, hostACL bool) error {
	if len(caps) == 0 {
		return invalid("volume_capabilities", "are missing")
	}
	for _, c := range caps {
		if err := checkCapability(c); err != nil {
			return err
		}
		if shared(c) && !hostACL {
			return invalid("volume_capability.access_mode", "%s needs the array's host ACL, and --rds-host-acl is off", c.GetAccessMode().GetMode())
		}
	}
	return nil
}

func checkCapability(c *csi.VolumeCapability) error {
	switch {
	case c == nil:
		return invalid("volume_capability", "is missing")
	case c.GetBlock() == nil && c.GetMount() == nil:
		return invalid("volume_capability.access_type", "is missing: block or mount")
	case c.GetMount() != nil && !slices.Contains(supportedFS(), fsTypeOf(c)):
		return invalid("volume_capability.mount.fs_type", "%.40q is not supported; supported are %s", fsTypeOf(c), strings.Join(supportedFS(), ", "))
	}
	return checkAccessMode(c)
}

func checkAccessMode(c *csi.VolumeCapability) error {
	mode := c.GetAccessMode().GetMode()
	switch mode {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:
		return nil
	case csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER:
		if c.GetBlock() != nil {
			return nil
		}
		return invalid("volume_capability.access_mode", "%s is for raw block volumes only: a file system that two nodes mount is lost", mode)
	case csi.VolumeCapability_AccessMode_UNKNOWN:
		return invalid("volume_capability.access_mode", "is missing")
	default:
		return invalid("volume_capability.access_mode", "%s is not supported", mode)
	}
}

// shared tells that more than one node may hold the volume.
func shared(c *csi.VolumeCapability) bool {
	return c.GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
}

// manyTargets tells that the volume may be published at several paths of a node (CSI spec,
// NodePublishVolume, second table). SINGLE_NODE_WRITER is the old name of one writer or several,
// and older COs use it for both.
func manyTargets(c *csi.VolumeCapability) bool {
	switch c.GetAccessMode().GetMode() {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER, csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER:
		return true
	default:
		return false
	}
}

// fingerprint is a capability as one comparable text: to tell a repeat from a different call.
func fingerprint(c *csi.VolumeCapability, readOnly bool) (string, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return "", fault.E("encode the volume capability", fault.Internal, err)
	}
	return fmt.Sprintf("%x ro=%t", data, readOnly), nil
}
