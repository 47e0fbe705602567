package driver

import (
	"context"
	"slices"
	"sort"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// A paging token names the slot of the last volume of the page before. So a page begins where
// the last one ended, also when volumes came or went in between: none is told twice, and none
// that was there all the time is left out.
const tokenPrefix = "after:"

func (c *controller) ListVolumes(ctx context.Context, req *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	if req.GetMaxEntries() < 0 {
		return nil, invalid("max_entries", "is negative")
	}
	after, err := parseToken(req.GetStartingToken())
	if err != nil {
		return nil, err
	}
	volumes, err := c.cfg.Array.List(ctx)
	if err != nil {
		return nil, err
	}
	// What others have named so that it cannot be a volume id is no volume to any other RPC either.
	volumes = slices.DeleteFunc(volumes, func(v rds.Volume) bool { return !validID.MatchString(v.Slot) })
	page, token := pageOf(volumes, after, int(req.GetMaxEntries()))
	resp := &csi.ListVolumesResponse{NextToken: token}
	for _, v := range page {
		resp.Entries = append(resp.Entries, &csi.ListVolumesResponse_Entry{
			Volume: c.volume(v),
			Status: &csi.ListVolumesResponse_VolumeStatus{PublishedNodeIds: v.Record.Holders},
		})
	}
	return resp, nil
}

func parseToken(token string) (after string, err error) {
	if token == "" {
		return "", nil
	}
	after, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || !validID.MatchString(after) {
		// CSI spec, ListVolumes errors: an invalid token is ABORTED, and the caller starts over.
		return "", fault.Errorf("starting_token", fault.InFlight, "%.60q is no token of this driver; begin without one", token)
	}
	return after, nil
}

// pageOf cuts a page out of volumes, which are sorted by slot. most 0 means all.
func pageOf(volumes []rds.Volume, after string, most int) (page []rds.Volume, next string) {
	start := sort.Search(len(volumes), func(i int) bool { return volumes[i].Slot > after })
	page = volumes[start:]
	if most == 0 || len(page) <= most {
		return page, ""
	}
	return page[:most], tokenPrefix + page[most-1].Slot
}
