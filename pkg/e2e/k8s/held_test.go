package k8s

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// volume is the one of that slot.
func (a *array) volume(t *testing.T, slot string) volume {
	t.Helper()
	all := a.volumes(t)
	i := slices.IndexFunc(all, func(v volume) bool { return v.Slot == slot })
	if i < 0 {
		t.Fatalf("the array has no volume %s", slot)
	}
	return all[i]
}

// held is the name by which the array exports a volume, which must be to that node alone.
func (a *array) held(t *testing.T, slot, nodeID string) string {
	t.Helper()
	v := a.volume(t, slot)
	named := regexp.MustCompile(`^nqn\.2000-02\.com\.mikrotik:` + slot + `\.[0-9a-f]{8}$`).MatchString(v.NQN)
	if !v.Exported || !named || !slices.Equal(v.Hosts, []string{hostNQN(nodeID)}) || strings.Count(v.Comment, " by=") != 1 || !strings.Contains(v.Comment, " by="+nodeID+";") {
		t.Fatalf("the volume is not exported to %s alone, by a name with a token: %+v", nodeID, v)
	}
	if !a.admits(t, v.NQN, nodeID) {
		t.Fatalf("%s is not let in: %+v", nodeID, v)
	}
	return v.NQN
}

// free tells whether no node holds the volume.
func (a *array) free(t *testing.T, slot string) bool {
	t.Helper()
	v := a.volume(t, slot)
	return !v.Exported && strings.HasSuffix(v.Comment, " -- rds-csi free")
}

// admits tells whether a node would be let in now if it asked for that name.
func (a *array) admits(t *testing.T, nqn, nodeID string) bool {
	t.Helper()
	var answer struct {
		May bool `json:"may_connect"`
	}
	query := url.Values{"nqn": {nqn}, "host": {hostNQN(nodeID)}}.Encode()
	if err := json.Unmarshal(a.do(t, http.MethodGet, "/may-connect?"+query, ""), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.May
}

// hostNQN is what a node calls itself to the array (docs/reference/volumes-on-the-array.md).
func hostNQN(nodeID string) string {
	_, id, _ := strings.Cut(nodeID, "/")
	return "nqn.2014-08.org.nvmexpress:uuid:" + id
}
