package k8s

import "testing"

// TestKubernetes has all its tests in one cluster: it takes some 20 seconds to come up.
func TestKubernetes(t *testing.T) {
	c := newCluster(t)
	s := &suite{cluster: c, array: startArray(t)}
	t.Cleanup(func() { report(t, c) })
	kubectl(t, "create", "namespace", namespace)
	t.Run("DryRun", s.dryRun) // nothing is installed yet: what is there would be changed, which asks for less
	installDriver(t, s.array)
	t.Run("Life", s.life)
	t.Run("Modes", s.modes)
	t.Run("Scrapes", s.scrapes)
	t.Run("Traces", s.traces)
	t.Run("External", s.external)
	t.Run("Trouble", s.trouble)
	t.Run("OutOfService", s.outOfService)
}

type suite struct {
	cluster *cluster
	array   *array
}

// report says of a failed test what pods were there, and what the driver logged.
func report(t *testing.T, c *cluster) {
	if !t.Failed() {
		return
	}
	c.tell(t)
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
