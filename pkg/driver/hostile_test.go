package driver

import (
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const payload = `/disk add type=file slot=owned file-path=/storage-pool/owned.img file-size=1M`

// hostile texts would create the slot "owned" if any of them were executed as console text, or at
// least tear the command in two.
func hostile() []string {
	return []string{
		`x"; ` + payload + `; :put "`,
		`x\"; ` + payload,
		`$[` + payload + `]`,
		`"$[` + payload + `]`,
		"x\r\n" + payload + "\r\n",
		"x\n}\n" + payload,
		`x"]; ` + payload + ` #`,
		`x={` + payload + `}`,
		`'; ` + payload + ` '`,
		`\`, `x\`, `"`, `$`, `$x`, `[`, `{`, `;`, "\t", "\x7f", "\x00", "ä€\u2028", `@@ ok=1`, ` -- held by=x;`, "=", "?", "(", `x" .. "`,
		strings.Repeat(`"`, 127), strings.Repeat("z", 129), strings.Repeat("z", 5000),
	}
}

// Whatever a CO puts into a field is validated or quoted, never executed, and what was there before
// stays as it was.
func TestFieldsAreNeverExecuted(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "bystander", gib, mounted("", nodeWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	before, _ := r.array.item(v.slot())
	for _, text := range hostile() {
		for name, call := range r.callsWith(t, v, text) {
			if code := status.Code(call()); !slices.Contains([]codes.Code{codes.OK, codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.Aborted}, code) {
				t.Errorf("%s with %.40q: code %s", name, text, code)
			}
		}
		after, _ := r.array.item(v.slot())
		if after.Comment != before.Comment || after.NQN != before.NQN || after.Size != before.Size || !slices.Equal(after.Hosts, before.Hosts) {
			t.Fatalf("%.40q changed the bystander from %+v to %+v", text, before, after)
		}
		if item, there := r.array.item("owned"); there {
			t.Fatalf("%.40q was executed: %+v", text, item)
		}
	}
	for _, exec := range r.array.Transcript() {
		if notUnderstood(exec.Output) {
			t.Errorf("the array did not understand\n%s\nand said\n%s", exec.Command, exec.Output)
		}
	}
	if out := r.array.Run(soon(t), `:put "a"b"`); !notUnderstood(out) {
		t.Errorf("a quote too many is not seen in %q", out)
	}
	if _, there := r.array.item("owned"); there || r.array.Run(soon(t), payload) != "" {
		t.Error("the payload is none")
	} else if _, there := r.array.item("owned"); !there {
		t.Error("the payload does nothing when it is executed")
	}
}

// notUnderstood tells that the array could not parse a text: a quote got out.
func notUnderstood(output string) bool {
	return slices.ContainsFunc([]string{"syntax error", "expected", "bad command name", "no such argument"}, func(bad string) bool {
		return strings.Contains(output, bad)
	})
}

// callsWith puts text into every string field of the controller's RPCs, one at a time.
func (r *rig) callsWith(t *testing.T, v *volume, text string) map[string]func() error {
	create := func(change func(*csi.CreateVolumeRequest)) func() error {
		return func() error {
			req := createRequest("hostile", 16*mib, v.capability)
			req.Parameters = map[string]string{}
			change(req)
			resp, err := r.controller.CreateVolume(soon(t), req)
			if err == nil {
				_, err = r.controller.DeleteVolume(soon(t), &csi.DeleteVolumeRequest{VolumeId: resp.GetVolume().GetVolumeId()})
			}
			return err
		}
	}
	calls := map[string]func() error{
		"name": create(func(q *csi.CreateVolumeRequest) { q.Name = text }),
		"fs_type": create(func(q *csi.CreateVolumeRequest) {
			q.VolumeCapabilities = []*csi.VolumeCapability{mounted(text, nodeWriter)}
		}),
		"parameter key":  create(func(q *csi.CreateVolumeRequest) { q.Parameters[text] = "x" }),
		"sidecar's key":  create(func(q *csi.CreateVolumeRequest) { q.Parameters[sidecarPrefix+text] = "x" }),
		"delete":         func() error { return r.deleteID(t, text) },
		"delete in rds/": func() error { return r.deleteID(t, testArray+"/"+text) },
		"starting_token": func() error {
			_, err := r.controller.ListVolumes(soon(t), &csi.ListVolumesRequest{MaxEntries: 1, StartingToken: tokenPrefix + text})
			return err
		},
		"unpublish node": func() error {
			_, err := r.controller.ControllerUnpublishVolume(soon(t), &csi.ControllerUnpublishVolumeRequest{VolumeId: v.VolumeId, NodeId: text + "/" + r.b.id.HostID()})
			return err
		},
	}
	for _, key := range append(parameterKeys(), keyPVCName, keyPVCNamespace, keyPVName) {
		calls[key] = create(func(q *csi.CreateVolumeRequest) { q.Parameters[key] = text })
	}
	for _, key := range append(parameterKeys(), keyPVCName) {
		calls["volume_context "+key] = func() error {
			req := v.publishRequest(r.a)
			req.VolumeContext[key] = text
			_, err := r.controller.ControllerPublishVolume(soon(t), req)
			return err
		}
	}
	return calls
}

func (r *rig) deleteID(t *testing.T, id string) error {
	_, err := r.controller.DeleteVolume(soon(t), &csi.DeleteVolumeRequest{VolumeId: id})
	return err
}

// The node's fields reach no console, but a kernel: paths, options and the publish context.
func TestHostileFieldsOnTheNode(t *testing.T) {
	r := newRig(t)
	v := r.create(t, "victim", 16*mib, mounted("ext4", nodeWriter))
	wantCode(t, v.publishTo(r.a), codes.OK)
	refused := []codes.Code{codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition}
	for _, text := range hostile() {
		for _, key := range []string{keyNQN, keySize, keyNVMeAddress, keyNVMePort, keyNrIOQueues, keyCtrlLossTmo} {
			req := v.stageRequest(r.a)
			req.PublishContext = map[string]string{}
			for k, value := range v.published {
				req.PublishContext[k] = value
			}
			req.PublishContext[key] = text
			_, err := r.a.NodeStageVolume(soon(t), req)
			if !slices.Contains(refused, status.Code(err)) {
				t.Errorf("publish_context %s %.40q: %v", key, text, err)
			}
		}
		req := v.stageRequest(r.a)
		req.StagingTargetPath = r.a.dir + "/../" + text
		if _, err := r.a.NodeStageVolume(soon(t), req); !slices.Contains(refused, status.Code(err)) {
			t.Errorf("path %.40q: %v", text, err)
		}
		r.a.mustBeClean(t)
	}
	for _, flags := range [][]string{{"errors=continue"}, {"bind"}, {"noatime,exec"}, {"a b"}, {"x\ny"}, {"subvol=/"}} {
		w := *v
		w.capability = mounted("ext4", nodeWriter, flags...)
		if err := w.stage(r.a); !slices.Contains(refused, status.Code(err)) {
			t.Errorf("mount flags %q: %v", flags, err)
		}
		r.a.mustBeClean(t)
	}
	if creates := r.a.nvme.Creates(); len(creates) > 6 {
		t.Errorf("connects with a hostile context: %q", creates)
	}
}
