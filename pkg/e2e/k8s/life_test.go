package k8s

import (
	"strings"
	"testing"
	"time"
)

// within is what the driver promises from an empty namespace to a running pod with data.
const within = 60 * time.Second

// life takes a volume from claim to deletion.
func (s *suite) life(t *testing.T) {
	space := newSpace(t)
	begun := time.Now()
	space.apply(claim{name: "data"}.yaml(), pod{name: "writer", claims: []string{"data"}, script: "echo kept > /data/file; sync"}.yaml())
	space.wait("pod/writer", "condition=Ready")
	took := time.Since(begun)
	t.Logf("from an empty namespace to a running pod with data: %.1f s", took.Seconds())
	if took > within {
		t.Errorf("that took %v, want %v at most", took, within)
	}
	if got := space.sh("writer", "grep ' /data ' /proc/mounts"); !strings.Contains(got, " xfs ") {
		t.Errorf("mounted as %q", got)
	}

	if got := s.array.slots(t); len(got) != 1 {
		t.Errorf("the array has the volumes %q", got)
	}
	s.array.agrees(t)

	space.kubectl("patch", "pvc", "data", "--patch", `{"spec": {"resources": {"requests": {"storage": "1Gi"}}}}`)
	await(t, "the file system has grown", func() (bool, string) {
		size := strings.TrimSpace(space.sh("writer", "df -m /data | tail -n 1 | awk '{print $2}'"))
		return len(size) == 3 && size > "900" || len(size) == 4, size
	})
	await(t, "the claim says so", func() (bool, string) {
		capacity := space.kubectl("get", "pvc", "data", "-o", "jsonpath={.status.capacity.storage}")
		return capacity == "1Gi", capacity
	})

	space.kubectl("delete", "pod", "writer")
	space.apply(pod{name: "reader", claims: []string{"data"}, script: "grep kept /data/file"}.yaml())
	space.wait("pod/reader", "condition=Ready")
	space.kubectl("delete", "pod", "reader")
	space.kubectl("delete", "pvc", "data")
	await(t, "the array has no volume", func() (bool, string) {
		left := s.array.slots(t)
		return len(left) == 0, strings.Join(left, " ")
	})
}
