package rds

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/routeros"
)

// Volume is a file-backed disk of the array.
type Volume struct {
	Slot     string
	Size     uint64 // bytes, as the array reports them
	Path     string // backing file, with a leading slash
	Exported bool
	NQN      string   // "" while not exported: the array shows it only then
	Hosts    []string // host NQNs that may connect; empty while exported means any
	Comment  string
	Record   Record
}

// Marked tells whether the driver made the volume for cluster.
func (v Volume) Marked(cluster string) bool { return v.Record.Cluster == cluster }

// Foreign tells that no driver made the volume.
func (v Volume) Foreign() bool { return v.Record.Cluster == "" }

// Pool is the mount point of the pool the backing file lies in.
func (v Volume) Pool() string {
	dir, _, ok := strings.Cut(strings.TrimPrefix(v.Path, "/"), "/"+v.Slot+"/")
	if !ok {
		return ""
	}
	return dir
}

func volumeOf(item routeros.Item) (Volume, error) {
	size, err := item.Bytes("size")
	if err != nil {
		return Volume{}, fault.E("read disk "+item.String("slot"), fault.Internal, err)
	}
	v := Volume{
		Slot:     item.String("slot"),
		Size:     size,
		Path:     "/" + strings.TrimPrefix(item.String("file-path"), "/"),
		Exported: item.Bool("nvme-tcp-export"),
		Comment:  item.String("comment"),
	}
	if v.Exported {
		v.NQN = item.String("nvme-tcp-server-nqn")
		v.Hosts = splitACL(item.String("nvme-tcp-server-allow-host-name"))
	}
	v.Record = parseRecord(v.Comment)
	return v, nil
}

// The syntax of an ACL of several hosts is unknown (facts/routeros.md §10). A comma is the
// driver's one choice; `check --write` finds out.
const aclSeparator = ","

func joinACL(hosts ...string) string { return strings.Join(hosts, aclSeparator) }

func splitACL(s string) []string {
	var hosts []string
	for h := range strings.SplitSeq(s, aclSeparator) {
		if h = strings.TrimSpace(h); h != "" {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// errNoFileDisk: only file disks are ever published, grown or deleted.
var errNoFileDisk = errors.New("the driver works on disks of type file only")

// theVolume reads the reply of a command that prints the row of one slot.
func theVolume(reply *routeros.Reply, slot string) (Volume, error) {
	rows, err := reply.Rows("row")
	if err != nil {
		return Volume{}, err
	}
	rows = slices.DeleteFunc(rows, func(i routeros.Item) bool { return i.String("slot") != slot })
	switch len(rows) {
	case 0:
		return Volume{}, fault.Errorf("", fault.NotFound, "the array has no disk in slot %s", slot)
	case 1:
	default:
		return Volume{}, fault.Errorf("", fault.Precondition, "the array has %d disks in slot %s; remove all but one", len(rows), slot)
	}
	if t := rows[0].String("type"); t != "file" {
		return Volume{}, fault.Errorf("", fault.Precondition, "slot %s is a disk of type %s: %w", slot, t, errNoFileDisk)
	}
	return volumeOf(rows[0])
}

func (v Volume) describeRecord() string {
	if len(v.Record.Holders) == 0 {
		return "nobody"
	}
	return strings.Join(v.Record.Holders, " and ")
}

func (v Volume) describeHolders() string {
	if len(v.Record.Holders) > 0 {
		return v.describeRecord()
	}
	if len(v.Hosts) > 0 {
		return "host " + strings.Join(v.Hosts, " and ")
	}
	return fmt.Sprintf("any host (NQN %s)", v.NQN)
}
