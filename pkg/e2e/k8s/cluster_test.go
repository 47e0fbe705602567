package k8s

import (
	"crypto/x509/pkix"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// cluster is a Kubernetes of one node that runs until the end of the test.
type cluster struct {
	apiserver, containerd *daemon
	daemons               []*daemon
}

// newCluster starts it, and returns when the node is ready.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	begun := time.Now()
	c := &cluster{}
	authorities(t)
	configure(t)
	path := "PATH=" + strings.Join([]string{debian("usr/bin"), debian("usr/sbin"), os.Getenv("PATH")}, ":")
	libraries := "LD_LIBRARY_PATH=" + debian("usr/lib/x86_64-linux-gnu")
	c.containerd = c.start(t, "containerd", []string{path, libraries}, debian("usr/bin/containerd"), "-c", under("containerd.toml"))
	c.start(t, "etcd", nil, built("etcd"), "--data-dir="+under("etcd"), "--unsafe-no-fsync", "--listen-client-urls=http://127.0.0.1:2379",
		"--advertise-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380")
	c.apiserver = c.start(t, "kube-apiserver", nil, apiserverCommand()...)
	c.awaitReady(t)
	c.start(t, "kube-controller-manager", nil, controllerManagerCommand()...)
	c.start(t, "kube-scheduler", nil, built("kube-scheduler"), "--kubeconfig="+under("scheduler.conf"), "--authentication-kubeconfig="+under("scheduler.conf"),
		"--authorization-kubeconfig="+under("scheduler.conf"), "--leader-elect=false", "--bind-address=127.0.0.1")
	importImages(t)
	c.start(t, "kubelet", []string{path}, built("kubelet"), "--config="+under("kubelet.yaml"), "--kubeconfig="+under("kubelet.conf"),
		"--hostname-override="+nodeName, "--node-ip="+nodeIP, "--v=2")
	waitFor(t, "node/"+nodeName, "condition=Ready")
	await(t, "the default service account", func() (bool, string) {
		_, err := tryKubectl(t, "", "get", "serviceaccount", "default")
		return err == nil, fmt.Sprint(err)
	})
	t.Logf("the node was ready after %.1f s", time.Since(begun).Seconds())
	return c
}

func (c *cluster) start(t *testing.T, name string, env []string, args ...string) *daemon {
	t.Helper()
	d := start(t, name, env, args...)
	c.daemons = append(c.daemons, d)
	return d
}

// awaitReady waits for the API server.
func (c *cluster) awaitReady(t *testing.T) {
	t.Helper()
	await(t, "the API server is ready", func() (bool, string) {
		if !c.apiserver.running() {
			t.Fatalf("the API server has ended: %s", c.apiserver.tail())
		}
		_, err := tryKubectl(t, "", "get", "--raw=/readyz")
		return err == nil, fmt.Sprint(err)
	})
}

// tell says which of the cluster's programs have ended by themselves, and why.
func (c *cluster) tell(t *testing.T) {
	for _, d := range c.daemons {
		if !d.running() {
			t.Logf("%s has ended: %s", d.name, d.tail())
		}
	}
}

func authorities(t *testing.T) {
	t.Helper()
	ca := newAuthority(t, "ca")
	front := newAuthority(t, "front-proxy-ca")
	nodes := pkix.Name{Organization: []string{"system:nodes"}, CommonName: "system:node:" + nodeName}
	masters := pkix.Name{Organization: []string{"system:masters"}, CommonName: "admin"}
	ca.issue(t, "apiserver", pkix.Name{CommonName: "kube-apiserver"}, "kubernetes", "kubernetes.default.svc", nodeName, nodeIP, serviceIP, "127.0.0.1")
	ca.issue(t, "kubelet-server", nodes, nodeName, nodeIP)
	ca.issue(t, "apiserver-kubelet-client", masters)
	front.issue(t, "front-proxy-client", pkix.Name{CommonName: "front-proxy-client"})
	serviceAccountKey(t)
	ca.kubeconfig(t, "admin", masters)
	ca.kubeconfig(t, "kubelet", nodes)
	ca.kubeconfig(t, "controller-manager", pkix.Name{CommonName: "system:kube-controller-manager"})
	ca.kubeconfig(t, "scheduler", pkix.Name{CommonName: "system:kube-scheduler"})
}
