package driver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
)

func (r *rig) list(t testing.TB, most int32, token string) ([]*csi.ListVolumesResponse_Entry, string) {
	t.Helper()
	resp, err := r.controller.ListVolumes(soon(t), &csi.ListVolumesRequest{MaxEntries: most, StartingToken: token})
	wantCode(t, err, codes.OK)
	if most > 0 && len(resp.GetEntries()) > int(most) {
		t.Fatalf("%d entries on a page of %d", len(resp.GetEntries()), most)
	}
	return resp.GetEntries(), resp.GetNextToken()
}

// Whatever comes and goes between the pages: what was there all the time is told exactly once, and
// nothing is told twice, or after it was gone.
func TestPagesStayRight(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := newRig(t)
			dice := rand.New(rand.NewPCG(seed, 7))
			lasting, fleeting := map[string]bool{}, []*volume{}
			for i := range 12 {
				v := r.create(t, fmt.Sprint("v", i), 4096, mounted("", nodeWriter))
				if lasting[v.VolumeId] = dice.IntN(2) == 0; !lasting[v.VolumeId] {
					delete(lasting, v.VolumeId)
					fleeting = append(fleeting, v)
				}
			}
			told, gone, token := map[string]int{}, map[string]bool{}, ""
			for page := 0; page == 0 || token != ""; page++ {
				var entries []*csi.ListVolumesResponse_Entry
				entries, token = r.list(t, int32(1+dice.IntN(4)), token)
				for _, e := range entries {
					id := e.GetVolume().GetVolumeId()
					told[id]++
					if gone[id] || told[id] > 1 {
						t.Errorf("page %d: %s (gone %t, told %d times)", page, id, gone[id], told[id])
					}
				}
				if _, slot, ok := strings.Cut(token, tokenPrefix); ok && dice.IntN(3) == 0 { // the very volume the token names
					i := slices.IndexFunc(fleeting, func(v *volume) bool { return v.slot() == slot })
					fleeting = r.remove(t, fleeting, i, gone)
				}
				fleeting = r.remove(t, fleeting, dice.IntN(len(fleeting)+2), gone)
				if page < 10 {
					fleeting = append(fleeting, r.create(t, fmt.Sprintf("new %d-%d", seed, page), 4096, mounted("", nodeWriter)))
				}
			}
			for id := range lasting {
				if told[id] != 1 {
					t.Errorf("%s was there all the time, and told %d times", id, told[id])
				}
			}
		})
	}
}

// remove deletes the i-th of the volumes, if there is one.
func (r *rig) remove(t *testing.T, volumes []*volume, i int, gone map[string]bool) []*volume {
	t.Helper()
	if i < 0 || i >= len(volumes) {
		return volumes
	}
	wantCode(t, volumes[i].delete(), codes.OK)
	gone[volumes[i].VolumeId] = true
	return slices.Delete(volumes, i, i+1)
}

func TestListShowsWhoHasWhat(t *testing.T) {
	r := newRig(t)
	free, held, shared := r.create(t, "free", gib, mounted("", nodeWriter)), r.create(t, "held", gib, mounted("", nodeWriter)), r.create(t, "shared", gib, block(sharedWriter))
	wantCode(t, held.publishTo(r.a), codes.OK)
	wantCode(t, shared.publishTo(r.a), codes.OK)
	wantCode(t, shared.publishTo(r.b), codes.OK)
	want := map[string][]string{
		free.VolumeId: nil, held.VolumeId: {r.a.id.String()}, shared.VolumeId: {r.a.id.String(), r.b.id.String()},
	}
	entries, token := r.list(t, 0, "")
	if len(entries) != len(want) || token != "" {
		t.Errorf("%d entries, token %q", len(entries), token)
	}
	for _, e := range entries {
		id, nodes := e.GetVolume().GetVolumeId(), e.GetStatus().GetPublishedNodeIds()
		if !slices.Equal(nodes, want[id]) || e.GetVolume().GetCapacityBytes() != gib {
			t.Errorf("%s: nodes %v, want %v; %d bytes", id, nodes, want[id], e.GetVolume().GetCapacityBytes())
		}
		resp, err := r.controller.ControllerGetVolume(soon(t), &csi.ControllerGetVolumeRequest{VolumeId: id})
		wantCode(t, err, codes.OK)
		if !slices.Equal(resp.GetStatus().GetPublishedNodeIds(), nodes) {
			t.Errorf("%s: get says %v, list says %v", id, resp.GetStatus().GetPublishedNodeIds(), nodes)
		}
	}
}

func TestListWithForeignDisks(t *testing.T) {
	r := newRig(t)
	ours := r.create(t, "v", gib, mounted("", nodeWriter))
	for _, text := range []string{
		`/disk add type=file slot=byhand file-path=/storage-pool/byhand.img file-size=64M`,
		`/disk add type=file slot="not an id" file-path=/storage-pool/noid.img file-size=64M`,
	} {
		if out := r.array.Run(soon(t), text); out != "" {
			t.Fatal(out)
		}
	}
	var ids []string
	for token, page := "", 0; page == 0 || token != ""; page++ {
		var entries []*csi.ListVolumesResponse_Entry
		entries, token = r.list(t, 1, token)
		for _, e := range entries {
			ids = append(ids, e.GetVolume().GetVolumeId())
		}
	}
	if want := []string{"byhand", ours.VolumeId}; !slices.Equal(ids, want) { // the short form is what a PV written by hand has
		t.Errorf("listed %q, want %q", ids, want)
	}
}

func TestListTokensThatAreNone(t *testing.T) {
	r := newRig(t)
	for token, code := range map[string]codes.Code{"x": codes.Aborted, "after:": codes.Aborted, "after:a b": codes.Aborted, "after:zzz": codes.OK} {
		_, err := r.controller.ListVolumes(soon(t), &csi.ListVolumesRequest{StartingToken: token})
		wantCode(t, err, code)
	}
	_, err := r.controller.ListVolumes(soon(t), &csi.ListVolumesRequest{MaxEntries: -1})
	wantCode(t, err, codes.InvalidArgument, "max_entries")
}
