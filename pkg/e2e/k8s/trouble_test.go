package k8s

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// trouble comes while much is under way. Everything must end bound and mounted, then gone.
func (s *suite) trouble(t *testing.T) {
	t.Run("ControllerReplaced", func(t *testing.T) {
		s.claims(t, 50, func() {
			kubectl(t, "rollout", "restart", "deployment/"+release+"-controller", "--namespace="+namespace)
			kubectl(t, "delete", "pods", "--namespace="+namespace, "--selector=app.kubernetes.io/component=controller", "--grace-period=0", "--force", "--wait=false")
		})
	})
	t.Run("NodePluginKilled", func(t *testing.T) {
		s.pods(t, 20, func() {
			for range 3 {
				killDriver(t, "--node")
				await(t, "the node plugin is back", func() (bool, string) { return len(processes(t, "--node")) > 0, "no process" })
			}
		})
	})
	t.Run("APIServerRestarted", func(t *testing.T) {
		s.pods(t, 10, func() {
			s.cluster.apiserver.kill(t)
			s.cluster.apiserver.begin(t)
			s.cluster.awaitReady(t)
		})
	})
	t.Run("ArrayRebooted", func(t *testing.T) {
		s.pods(t, 10, func() { s.array.do(t, http.MethodPost, "/reboot?down=5s", "") })
	})
}

// claims makes n claims at once, then trouble.
func (s *suite) claims(t *testing.T, n int, trouble func()) {
	space := newSpace(t)
	var objects []string
	for i := range n {
		objects = append(objects, claim{name: fmt.Sprintf("claim-%d", i), class: "rds-now", size: "16Mi"}.yaml())
	}
	space.apply(objects...)
	await(t, "it is under way", func() (bool, string) { return len(s.array.slots(t)) > n/10, "" })
	if made := len(s.array.slots(t)); made == n {
		t.Errorf("the array had made all %d volumes before there was trouble", n)
	}
	trouble()
	await(t, "all claims are bound", func() (bool, string) {
		phases := strings.Fields(space.kubectl("get", "pvc", "-o", "jsonpath={.items[*].status.phase}"))
		return strings.Count(strings.Join(phases, " "), "Bound") == n, fmt.Sprint(phases)
	})
	s.array.agrees(t)
	space.kubectl("delete", "pvc", "--all", "--wait=false")
	s.ends(t)
}

// pods starts n pods with a volume each, then trouble; after that all are deleted.
func (s *suite) pods(t *testing.T, n int, trouble func()) {
	space := newSpace(t)
	var objects []string
	for i := range n {
		name := fmt.Sprintf("data-%d", i)
		objects = append(objects, claim{name: name}.yaml(), pod{name: "pod-" + name, claims: []string{name}, script: "echo " + name + " > /" + name + "/file; sync"}.yaml())
	}
	space.apply(objects...)
	await(t, "it is under way", func() (bool, string) {
		attached := strings.Fields(kubectl(t, "get", "volumeattachments", "-o", "jsonpath={.items[*].status.attached}"))
		return len(attached) > 1, fmt.Sprint(attached)
	})
	if space.ready() == n {
		t.Errorf("all %d pods were ready before there was trouble", n)
	}
	trouble()
	await(t, "all pods are ready", func() (bool, string) {
		ready := space.ready()
		return ready == n, fmt.Sprintf("%d of %d", ready, n)
	})
	for i := range n {
		space.sh(fmt.Sprintf("pod-data-%d", i), fmt.Sprintf("grep -x data-%d /data-%d/file", i, i))
	}
	s.array.agrees(t)
	space.kubectl("delete", "pods,pvc", "--all", "--wait=false")
	s.ends(t)
}

// ends waits until nothing is left: no PersistentVolume, no volume on the array, no loop device of the driver.
func (s *suite) ends(t *testing.T) {
	t.Helper()
	await(t, "everything is gone", func() (bool, string) {
		left := kubectl(t, "get", "pv,volumeattachments", "-o", "name")
		return left == "", left
	})
	s.array.agrees(t)
	if left := loops(t); len(left) > 0 {
		t.Errorf("loop devices are left: %q", left)
	}
}

// loops are the files of the loop devices that belong to the array.
func loops(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err == nil && bytes.HasPrefix(text, []byte(under()+"/")) {
			found = append(found, strings.TrimSpace(string(text)))
		}
	}
	return found
}

// processes are the driver's with that flag. The tests see them all: they share the process namespace's root.
func processes(t *testing.T, flag string) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscanf(e.Name(), "%d", &pid); err != nil {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")) // it may have ended
		args := strings.Split(string(line), "\x00")
		if filepath.Base(args[0]) == "rds-csi-plugin" && len(args) > 1 && args[1] == flag {
			found = append(found, pid)
		}
	}
	return found
}

// killDriver ends the driver's processes with that flag.
func killDriver(t *testing.T, flag string) {
	t.Helper()
	pids := processes(t, flag)
	if len(pids) == 0 {
		t.Fatalf("no driver with %s runs", flag)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "they are gone", func() (bool, string) {
		for _, pid := range pids {
			if syscall.Kill(pid, 0) == nil {
				return false, fmt.Sprint(pid)
			}
		}
		return true, ""
	})
}
