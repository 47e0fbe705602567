package guest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

const formatSize = 32 * mib

// notBlank is a device that must not be formatted.
type notBlank struct {
	name string
	// make brings it about, for a volume that is published. undo takes back what stands in the way of an end.
	make     func(t *testing.T, f *formats, v *volume) (undo func())
	decision string   // "": none was needed
	says     []string // all of it is in the error
	code     codes.Code
}

// What is not proven to be blank is refused, stays what it is to the last byte, and is let go of.
func TestOnlyWhatIsProvenBlankIsFormatted(t *testing.T) {
	f := newFormats(t)
	for _, tt := range slices.Concat(signed(), unsigned(), unreadable(), held(), unpromised()) {
		t.Run(tt.name, func(t *testing.T) { f.wantRefused(t, tt) })
	}
	t.Run("and a blank one is", f.wantFormatted)
}

// formats is a node that is asked to stage what it must not format.
type formats struct {
	*cluster
	node *node
}

func newFormats(t *testing.T) *formats {
	t.Helper()
	c := newCluster(t)
	return &formats{c, c.newNode("node-1")}
}

func (f *formats) wantRefused(t *testing.T, tt notBlank) {
	ctx, n := t.Context(), f.node
	v := f.create(ctx, spec{name: strings.ReplaceAll(tt.name, " ", "-"), size: formatSize})
	ok(t, f.cluster.publish(ctx, v, n))
	undo := sync.OnceFunc(tt.make(t, f, v))
	t.Cleanup(undo)
	before, decisions := f.read(t, v), f.decisions()
	err := n.stage(ctx, v)
	t.Logf("%v", err)
	if status.Code(err) != tt.code {
		t.Errorf("NodeStage answered %s, not %s", status.Code(err), tt.code)
	}
	for _, says := range tt.says {
		if err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("the error does not say %q", says)
		}
	}
	if !bytes.Equal(f.read(t, v), before) {
		t.Error("the device has changed")
	}
	if tt.decision != "" {
		decisions[tt.decision]++
	}
	if now := f.decisions(); !maps.Equal(now, decisions) {
		t.Errorf("format decisions: %v, not %v", now, decisions)
	}
	left := slices.Concat(controllers(t), n.records())
	if final := tt.code == codes.FailedPrecondition; final && len(left) > 0 {
		t.Errorf("the code is final, and there is still %q", left)
	} else if !final && len(n.records()) != 1 && len(controllers(t)) > 0 {
		t.Errorf("there is still %q, and no record of it", left)
	}
	undo()
	ok(t, n.unstage(ctx, v))
	if left := slices.Concat(controllers(t), mountsBelow(t, f.dir), n.records()); len(left) > 0 {
		t.Errorf("unstaged, and there is still %q", left)
	}
	if !bytes.Equal(f.read(t, v), before) {
		t.Error("the device has changed in the end")
	}
	ok(t, f.unpublish(ctx, v, n))
	ok(t, f.delete(ctx, v))
}

// wantFormatted shows that nothing else stood in the way of the others.
func (f *formats) wantFormatted(t *testing.T) {
	ctx := t.Context()
	v := f.create(ctx, spec{name: "blank", size: formatSize})
	before := f.decisions()["formatted"]
	ok(t, f.attach(ctx, v, f.node, "pod"))
	if now := f.decisions()["formatted"]; now != 1 || before != 0 {
		t.Errorf("%d were formatted before, %d after", before, now)
	}
	ok(t, f.detach(ctx, v, f.node, "pod"))
	ok(t, f.delete(ctx, v))
}

func (f *formats) read(t *testing.T, v *volume) []byte {
	t.Helper()
	data, err := os.ReadFile(f.array.file(v))
	ok(t, err)
	return data
}

// decisions are how often mkfs was decided on, and how.
func (f *formats) decisions() map[string]int {
	found := map[string]int{}
	for _, match := range decision.FindAllStringSubmatch(f.node.metrics(), -1) {
		n, err := strconv.Atoi(match[2])
		ok(f.t, err)
		found[match[1]] = n
	}
	return found
}

var decision = regexp.MustCompile(`(?m)^rds_csi_format_decisions_total\{decision="(\w+)"\} (\d+)$`)

// command runs a program of the guest.
func command(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func nothing() {}

// signed devices have a signature that is known, but not to be an ext4.
func signed() []notBlank {
	by := func(name, sign, says string, make func(t *testing.T, file string)) notBlank {
		return notBlank{name: name, code: codes.FailedPrecondition, decision: "refused_not_blank", says: []string{says, "nothing was changed"},
			make: func(t *testing.T, f *formats, v *volume) func() {
				make(t, f.array.file(v))
				if found := command(t, "", "blkid", "-p", f.array.file(v)); !strings.Contains(found, sign) {
					t.Fatalf("blkid finds %s", found)
				}
				return nothing
			}}
	}
	return []notBlank{
		by("LUKS", "crypto_LUKS", "crypto_LUKS", func(t *testing.T, file string) { writeAt(t, file, 0, luksHeader()) }),
		by("LVM", "LVM2_member", "LVM2_member", func(t *testing.T, file string) { writeAt(t, file, 512, lvmLabel()) }),
		by("ext2", "ext2", "ext2", func(t *testing.T, file string) { command(t, "", "mke2fs", "-q", "-F", "-t", "ext2", file) }),
		by("swap", "swap", "swap", func(t *testing.T, file string) { command(t, "", "mkswap", file) }),
		by("MBR", "dos", "partition table", func(t *testing.T, file string) { command(t, "label: dos\n,16M\n", "sfdisk", "-q", file) }),
		// The guest's devices have blocks of 4096 bytes, and a GPT is looked for by blocks: only its guard is found.
		by("GPT", "gpt", "partition table", func(t *testing.T, file string) { command(t, "label: gpt\n,16M\n", "sfdisk", "-q", file) }),
	}
}

// luksHeader is the begin of a LUKS 1 header, which is all that makes it one.
func luksHeader() []byte { return append([]byte("LUKS\xba\xbe\x00\x01"), content(3, 584)...) }

// lvmLabel is the label of a physical volume, of which LVM's own sum has to be right.
func lvmLabel() []byte {
	label := make([]byte, 512)
	copy(label, "LABELONE")
	binary.LittleEndian.PutUint64(label[8:], 1) // the sector it is in
	binary.LittleEndian.PutUint32(label[20:], 32)
	copy(label[24:], "LVM2 001"+"0123456789abcdefghijklmnopqrstuv")
	const seed = 0xf597a6cf
	binary.LittleEndian.PutUint32(label[16:], ^crc32.Update(^uint32(seed), crc32.IEEETable, label[20:]))
	return label
}

// unsigned devices have data that no tool knows.
func unsigned() []notBlank {
	var list []notBlank
	for name, at := range map[string]int64{
		"data at the start": 4096, "data in a sampled block": formatSize/256*100 + formatSize/512, "data at the end": formatSize - 1,
		"data where ext4 has a backup superblock": 8*mib + 1024,
	} {
		list = append(list, notBlank{name: name, code: codes.FailedPrecondition, decision: "refused_not_blank", says: []string{"there is data near byte", "not formatted"},
			make: func(t *testing.T, f *formats, v *volume) func() {
				writeAt(t, f.array.file(v), at, []byte{1})
				if out, err := exec.Command("blkid", "-p", f.array.file(v)).CombinedOutput(); err == nil {
					t.Fatalf("blkid finds %s", out)
				}
				return nothing
			}})
	}
	return list
}

func writeAt(t *testing.T, file string, at int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	ok(t, err)
	defer f.Close()
	_, err = f.WriteAt(data, at)
	ok(t, err)
}

// unreadable devices have a place where the array answers with an error.
func unreadable() []notBlank {
	var list []notBlank
	for name, sector := range map[string]int{"unreadable at the start": 0, "unreadable in a sampled block": (formatSize/256*100 + formatSize/512) / 512} {
		list = append(list, notBlank{name: name, code: codes.FailedPrecondition, decision: "refused_unreadable", says: []string{"input/output error"},
			make: func(t *testing.T, f *formats, v *volume) func() {
				good := f.array.file(v)
				loop := command(t, "", "losetup", "--show", "-f", good)
				table := ""
				if sector > 0 {
					table = "0 " + strconv.Itoa(sector) + " linear " + loop + " 0\n"
				}
				rest := sector + 8
				table += strconv.Itoa(sector) + " 8 error\n" + strconv.Itoa(rest) + " " + strconv.Itoa(formatSize/512-rest) + " linear " + loop + " " + strconv.Itoa(rest)
				command(t, table, "dmsetup", "create", "--noudevsync", "bad")
				f.serve(t, v, "/dev/"+command(t, "", "dmsetup", "info", "-c", "--noheadings", "-o", "blkdevname", "bad"))
				return func() {
					f.serve(t, v, good)
					command(t, "", "dmsetup", "remove", "--noudevsync", "bad")
					command(t, "", "losetup", "-d", loop)
				}
			}})
	}
	return list
}

// serve has the array serve something else under the volume's name.
func (f *formats) serve(t *testing.T, v *volume, path string) {
	t.Helper()
	dir := filepath.Join(configFS, "subsystems", v.published[f.node.name]["nqn"], "namespaces", "1")
	write(t, filepath.Join(dir, "enable"), "0")
	write(t, filepath.Join(dir, "device_path"), path)
	write(t, filepath.Join(dir, "enable"), "1")
}

// held devices are connected already, and somebody holds them. They cannot be let go of, so the code must not be
// a final one: kubelet would never unstage them.
func held() []notBlank {
	by := func(name string, take func(t *testing.T, device string) (release func())) notBlank {
		return notBlank{name: name, code: codes.Unavailable, decision: "refused_in_use", says: []string{"holds it", "could not be disconnected"},
			make: func(t *testing.T, f *formats, v *volume) func() {
				return take(t, f.connect(t, v).Path)
			}}
	}
	return []notBlank{
		by("opened exclusively", hold),
		by("under a device mapper", func(t *testing.T, device string) func() {
			command(t, "0 "+strconv.Itoa(formatSize/512)+" linear "+device+" 0", "dmsetup", "create", "--noudevsync", "above")
			return func() { command(t, "", "dmsetup", "remove", "--noudevsync", "above") }
		}),
		by("swapped on", func(t *testing.T, device string) func() {
			command(t, "", "mkswap", device)
			command(t, "", "swapon", device)
			return func() { command(t, "", "swapoff", device) }
		}),
	}
}

// connect connects the volume as the node does, before it does.
func (f *formats) connect(t *testing.T, v *volume) nvme.Device {
	t.Helper()
	_, u, _ := strings.Cut(f.node.id, "/")
	target := volumeTarget(v.published[f.node.name]["nqn"], f.array.portal())
	target.HostNQN, target.HostID = "nqn.2014-08.org.nvmexpress:uuid:"+u, u
	h, err := nvme.New(nvme.Config{HostNQN: target.HostNQN})
	ok(t, err)
	device, err := h.Connect(t.Context(), target)
	ok(t, err)
	return device
}

// unpromised devices are blank, but not what the volume was said to be.
func unpromised() []notBlank {
	return []notBlank{
		{name: "smaller than promised", code: codes.FailedPrecondition, says: []string{"and the array promised"},
			make: func(_ *testing.T, f *formats, v *volume) func() {
				v.published[f.node.name]["size"] = strconv.Itoa(formatSize + 4096)
				return nothing
			}},
		{name: "not created blank", code: codes.FailedPrecondition, decision: "refused_not_blank", says: []string{"not created blank by this driver"},
			make: func(_ *testing.T, _ *formats, v *volume) func() {
				delete(v.context, "blank")
				return nothing
			}},
		{name: "read-only", code: codes.FailedPrecondition, decision: "refused_not_blank", says: []string{"read-only"},
			make: func(_ *testing.T, _ *formats, v *volume) func() {
				v.flags = []string{"ro"}
				return nothing
			}},
	}
}
