package charttest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Each wrong value is refused before anything is installed, with words that name it.
func TestWrongValuesAreRefusedWithASentence(t *testing.T) {
	for values, want := range map[string]string{
		"array.address=":                                        "array.address is missing: give the host name or IP address of the array's SSH service",
		"array.address=192.0.2.2:22":                            `array.address "192.0.2.2:22": give a host name or an IP address alone; the port goes to array.port`,
		"array.address=array.example.net":                       `array.nvmeAddresses is missing: array.address "array.example.net" is a host name, and the nodes' kernels resolve none`,
		"array.nvmeAddresses={array.lan}":                       `array.nvmeAddresses: "array.lan" is no IP address; the nodes' kernels resolve no names`,
		"array.port=ssh":                                        "at '/array/port': got string, want integer",
		"array.port=0":                                          "at '/array/port': minimum: got 0, want 1",
		"array.nvmePort=65536":                                  "at '/array/nvmePort': maximum: got 65,536, want 65,535",
		"array.hostACL=maybe":                                   "at '/array/hostACL': value must be one of 'on', 'off'",
		"array.hostACL=true":                                    "at '/array/hostACL': value must be one of 'on', 'off'",
		"array.sshSessions=21":                                  "at '/array/sshSessions': maximum: got 21, want 20",
		"array.name=my array":                                   `array.name "my array": use at most 32 letters, digits, dots, hyphens and underscores`,
		"array.secretName=":                                     "array.secretName is missing: name the Secret with the array's ssh-key and host-key",
		"array.pool=":                                           "array.pool is missing: give the mount point of the pool for new volumes",
		"array.key=abc":                                         "at '/array': additional properties 'key' not allowed",
		"driver.name=RDS!":                                      `driver.name "RDS!": use a domain name of at most 63 lower case characters`,
		"driver.clusterID=a/b":                                  `driver.clusterID "a/b": use at most 63 letters, digits, dots and hyphens`,
		"driver.logLevel=trace":                                 "at '/driver/logLevel': value must be one of 'debug', 'info', 'warn', 'error'",
		"controller.replicas=0":                                 "at '/controller/replicas': minimum: got 0, want 1",
		"controller.metricsPort=9810":                           "controller.metricsPort 9810: the sidecars have 9810, 9811 and 9812 in the same pod",
		"controller.extraArgs={pprof}":                          `controller.extraArgs: "pprof" is no flag; give each as --name=value`,
		"node.kubletDir=/x":                                     "at '/node': additional properties 'kubletDir' not allowed",
		"node.kubeletDir=var/lib/kubelet":                       `node.kubeletDir "var/lib/kubelet": use an absolute path without a slash at its end`,
		"node.kubeletDir=/" + long:                              "a unix socket's has 107 at most",
		"node.maxUnavailable=ten":                               "at '/node/maxUnavailable'",
		"node.resources.request.cpu=1":                          "at '/node/resources': additional properties 'request' not allowed",
		"terminationGracePeriodSeconds=10":                      "at '/terminationGracePeriodSeconds': minimum: got 10, want 25",
		"sidecars.provisioner.timeout=soon":                     `sidecars.provisioner.timeout "soon": give a duration, such as 60s or 1m`,
		"sidecars.provisioner.timeout=":                         `sidecars.provisioner.timeout "": give a duration, such as 60s or 1m`,
		"sidecars.attacher.timeout=0s":                          `sidecars.attacher.timeout "0s": give a duration, such as 60s or 1m`,
		"sidecars.resizer.timeout=null":                         `sidecars.resizer.timeout "": give a duration, such as 60s or 1m`,
		"sidecars.attacher.reconcileSync=00m0s":                 `sidecars.attacher.reconcileSync "00m0s": give a duration, such as 60s or 1m`,
		"sidecars.retryIntervalMax=":                            `sidecars.retryIntervalMax "": give a duration, such as 60s or 1m`,
		"node.maxUnavailable=0":                                 "node.maxUnavailable 0: give 1 or more, or a share such as 10%; with none away no plugin could ever be replaced",
		"node.maxUnavailable=0%":                                "node.maxUnavailable 0%: give 1 or more",
		"node.kubeletDir=/":                                     `node.kubeletDir "/": give the kubelet's own directory`,
		"image.digest=sha256:12":                                `image.digest "sha256:12": give sha256: and 64 hexadecimal digits, or nothing`,
		"sidecars.provisioner.image=csi":                        `sidecars.provisioner.image "csi": pin it with a tag or a digest`,
		"sidecars.snapshotter.image=x:1":                        "at '/sidecars': additional properties 'snapshotter' not allowed",
		"storageClasses[0].fsType=ext3":                         "at '/storageClasses/0/fsType': value must be one of 'ext4', 'xfs', 'btrfs'",
		"storageClasses[0].default=yes":                         "at '/storageClasses/0/default': got string, want boolean",
		"storageClasses[0].parameters.x=1":                      "at '/storageClasses/0/parameters': additional properties 'x' not allowed",
		"storageClasses[0].name=rds,storageClasses[1].name=rds": `storageClasses: the name "rds" is given twice`,
		bothDefault:                                             "storageClasses: rds and b are all the default; a cluster has one",
		"monitoring.interval=often":                             `monitoring.interval "often": give a duration, such as 60s or 1m`,
		"metrics.tlsSecretName=true":                            "at '/metrics/tlsSecretName': got boolean, want string",
		"monitoring.enabled=always":                             "at '/monitoring/enabled': got string, want boolean",
		"telemetry.otlpEndpoint=collector":                      `telemetry.otlpEndpoint "collector": give a URL, such as http://collector.observability:4317`,
		"telemetry.otlpProtocol=http/json":                      "at '/telemetry/otlpProtocol': value must be one of 'grpc', 'http/protobuf'",
		"telemetry.samplingRatio=2":                             "at '/telemetry/samplingRatio': maximum: got 2, want 1",
		"dev.loopDir=sim":                                       `dev.loopDir "sim": use an absolute path without a slash at its end`,
		"replicas=2":                                            "additional properties 'replicas' not allowed",
	} {
		_, errs, err := helm(t, "template", release, chart, "--kube-version", kubernetes, "--set", "array.address=192.0.2.2", "--set", values)
		if err == nil || !strings.Contains(errs, want) {
			t.Errorf("--set %s: error %v, want one that says %q, got\n%s", values, err, want, errs)
		}
	}
}

const (
	bothDefault = "storageClasses[0].name=rds,storageClasses[0].default=true,storageClasses[1].name=b,storageClasses[1].default=true"
	long        = "a-directory-whose-name-is-far-too-long-for-the-path-of-a-unix-socket-below-it/kubelet"
)

// Words of a user reach the program as they are, whatever YAML would make of them.
func TestValuesReachTheProgramAsTheyAre(t *testing.T) {
	const odd = `a: b #c, {d} "e" 'f'`
	args := []string{"--set-string", "array.address=192.0.2.2"}
	for _, value := range []string{"array.user", "array.pool", "node.startupTaint"} {
		args = append(args, "--set-literal", value+"="+odd)
	}
	o := decode(t, render(t, append(args, "--set-literal", "node.kubeletDir=/var/"+odd, "--set-literal", "dev.loopDir=/srv/"+odd)...))
	controller, node := container(t, o.controller(t), "driver"), container(t, o.node(t), "driver")
	for _, want := range []string{"--rds-user=" + odd, "--rds-pool=" + odd} {
		if !slices.Contains(controller.Args, want) {
			t.Errorf("%s is not in %q", want, controller.Args)
		}
	}
	for _, want := range []string{"--startup-taint=" + odd, "--dev-loop-dir=/srv/" + odd} {
		if !slices.Contains(node.Args, want) {
			t.Errorf("%s is not in %q", want, node.Args)
		}
	}
	if got := mounts(t, o.node(t), "driver")["/var/"+odd]; got != "/var/"+odd+" rw Bidirectional" {
		t.Errorf("the kubelet's directory is mounted at %q", got)
	}
	if mode := *o.controller(t).Spec.Volumes[1].Secret.DefaultMode; mode != 0o440 {
		t.Errorf("the key's mode is %o", mode)
	}
}

type schema struct {
	Ref                  string            `json:"$ref"`
	Defs                 map[string]schema `json:"$defs"`
	Properties           map[string]schema `json:"properties"`
	AdditionalProperties any               `json:"additionalProperties"`
}

// What is in values.yaml must be in the schema and, with the same words, the other way round: a value that only one
// of them knows is a mistake in both.
func TestSchemaAndValuesKnowTheSameKeys(t *testing.T) {
	var s schema
	if err := json.Unmarshal([]byte(read(t, chart+"/values.schema.json")), &s); err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(read(t, chart+"/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	delete(s.Properties, "global") // Helm's own, of charts that have this one inside
	sameKeys(t, "", s, values)
}

func sameKeys(t *testing.T, path string, s schema, values map[string]any) {
	t.Helper()
	if len(s.Properties) == 0 {
		return // free: labels, resources, what Kubernetes checks
	}
	if s.AdditionalProperties != false {
		t.Errorf("%s: a misspelt key would pass", path)
	}
	if known, given := slices.Sorted(maps.Keys(s.Properties)), slices.Sorted(maps.Keys(values)); !slices.Equal(known, given) {
		t.Errorf("%s: the schema knows %v, values.yaml has %v", path, known, given)
	}
	for key, value := range values {
		if inner, ok := value.(map[string]any); ok {
			sameKeys(t, path+"/"+key, s.Properties[key], inner)
		}
	}
}
