package k8s

import (
	"os"
	"strings"
	"testing"
)

const (
	serviceIP        = "10.96.0.1" // of the API server
	containerdSocket = "/run/containerd/containerd.sock"
	pauseImage       = "e2e.local/pause:1"
)

// configure writes the configuration files. Why each unusual line is there: root on some build machines lacks
// CAP_SYS_RESOURCE, so no process may get a negative oom_score_adj; the cgroups are v1; images are only imported.
func configure(t *testing.T) {
	t.Helper()
	replace := strings.NewReplacer("DIR", under(), "DEBIAN", debian(""), "SOCKET", containerdSocket, "PAUSE", pauseImage, "CGROUP", os.Getenv(cgroupVar))
	for name, text := range map[string]string{
		"containerd.toml": containerdConfig, "kubelet.yaml": kubeletConfig, "cni/10-bridge.conflist": cniConfig, "resolv.conf": "",
	} {
		write(t, name, replace.Replace(text))
	}
}

const containerdConfig = `version = 2
root = "DIR/containerd"
state = "/run/containerd"
[grpc]
  address = "SOCKET"
[plugins."io.containerd.internal.v1.opt"]
  path = "DIR/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "PAUSE"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "DEBIAN/usr/lib/cni"
    conf_dir = "DIR/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`

const cniConfig = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.98.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /CGROUP
containerRuntimeEndpoint: unix://SOCKET
volumePluginDir: DIR/volume-plugins
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: DIR/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: DIR/pki/kubelet-server.crt
tlsPrivateKeyFile: DIR/pki/kubelet-server.key
clusterDomain: cluster.local
clusterDNS: [10.96.0.10]
resolvConf: DIR/resolv.conf
failSwapOn: false
oomScoreAdj: 0
maxPods: 250
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
nodeStatusUpdateFrequency: 5s
volumeStatsAggPeriod: 10s
`

func apiserverCommand() []string {
	pki := under("pki") + "/"
	return []string{
		built("kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379", "--advertise-address=" + nodeIP, "--secure-port=443",
		"--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--client-ca-file=" + pki + "ca.crt", "--tls-cert-file=" + pki + "apiserver.crt", "--tls-private-key-file=" + pki + "apiserver.key",
		"--kubelet-client-certificate=" + pki + "apiserver-kubelet-client.crt", "--kubelet-client-key=" + pki + "apiserver-kubelet-client.key",
		"--kubelet-certificate-authority=" + pki + "ca.crt", "--kubelet-preferred-address-types=InternalIP,Hostname",
		"--requestheader-client-ca-file=" + pki + "front-proxy-ca.crt", "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + pki + "front-proxy-client.crt", "--proxy-client-key-file=" + pki + "front-proxy-client.key",
		"--service-account-key-file=" + pki + "sa.pub", "--service-account-signing-key-file=" + pki + "sa.key",
		"--service-account-issuer=https://kubernetes.default.svc",
	}
}

func controllerManagerCommand() []string {
	conf, pki := under("controller-manager.conf"), under("pki")+"/"
	return []string{
		built("kube-controller-manager"), "--kubeconfig=" + conf, "--authentication-kubeconfig=" + conf, "--authorization-kubeconfig=" + conf,
		"--leader-elect=false", "--use-service-account-credentials", "--root-ca-file=" + pki + "ca.crt", "--bind-address=127.0.0.1",
		"--service-account-private-key-file=" + pki + "sa.key", "--cluster-signing-cert-file=" + pki + "ca.crt",
		"--cluster-signing-key-file=" + pki + "ca.key", "--flex-volume-plugin-dir=" + under("volume-plugins"),
	}
}
