package k8s

import "testing"

// TestKubernetes has all its tests in one cluster: it takes some 20 seconds to come up.
func TestKubernetes(t *testing.T) {
	c := newCluster(t)
	a := startArray(t)
	t.Cleanup(func() { report(t) })
	installDriver(t, a)
	s := &suite{cluster: c, array: a}
	t.Run("Life", s.life)
	t.Run("Modes", s.modes)
	t.Run("Trouble", s.trouble)
}

type suite struct {
	cluster *cluster
	array   *array
}

// report says of a failed test what pods were there, and what the driver logged.
func report(t *testing.T) {
	if !t.Failed() {
		return
	}
	for _, args := range [][]string{
		{"get", "pods,pvc,pv,volumeattachments", "--all-namespaces", "-o", "wide"},
		{"get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"},
		{"logs", "--namespace=" + namespace, "--selector=app.kubernetes.io/component=controller", "--all-containers", "--prefix", "--tail=40"},
		{"logs", "--namespace=" + namespace, "--selector=app.kubernetes.io/component=node", "--all-containers", "--prefix", "--tail=60"},
	} {
		out, err := tryKubectl(t, "", args...)
		t.Logf("kubectl %v: %v\n%s", args, err, out)
	}
}
