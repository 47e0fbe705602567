package driver

import (
	"maps"
	"strings"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/fault"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

func paramsDriver() *Driver {
	return &Driver{cfg: DriverConfig{ArrayName: testArray, Controller: &ControllerConfig{Addresses: []string{"192.0.2.1"}, Port: 4420}}}
}

func TestParameters(t *testing.T) {
	tests := []struct {
		name   string
		params map[string]string
		texts  []string // of the error; none where it is right
	}{
		{"none", nil, nil},
		{"all", map[string]string{
			"array": "rds", "pool": "storage-pool", "nvmeAddress": "192.0.2.7,2001:db8::1", "nvmePort": "4421", "nrIoQueues": "8", "ctrlLossTmo": "600",
			"reconnectDelay": "5", "keepAliveTmo": "10", "fastIoFailTmo": "30", "csi.storage.k8s.io/pvc/name": "data", "csi.storage.k8s.io/fstype": "xfs",
		}, nil},
		{"off", map[string]string{"ctrlLossTmo": "off", "fastIoFailTmo": "-1"}, nil},
		{"unknown names itself and the known", map[string]string{"poool": "x"}, []string{
			"poool", "array", "ctrlLossTmo", "fastIoFailTmo", "keepAliveTmo", "nrIoQueues", "nvmeAddress", "nvmePort", "pool", "reconnectDelay",
		}},
		{"letter case counts", map[string]string{"Pool": "x"}, []string{"Pool"}},
		{"another array", map[string]string{"array": "second"}, []string{"second", testArray}},
		{"no queue", map[string]string{"nrIoQueues": "0"}, []string{"nrIoQueues", "1 to 128"}},
		{"too many queues", map[string]string{"nrIoQueues": "129"}, []string{"nrIoQueues"}},
		{"delay cannot be off", map[string]string{"reconnectDelay": "off"}, []string{"reconnectDelay", "1 to 600"}},
		{"keep-alive cannot be 0", map[string]string{"keepAliveTmo": "0"}, []string{"keepAliveTmo"}},
		{"loss below off", map[string]string{"ctrlLossTmo": "-2"}, []string{"ctrlLossTmo", "or off"}},
		{"loss above a day", map[string]string{"ctrlLossTmo": "86401"}, []string{"ctrlLossTmo"}},
		{"not a number", map[string]string{"fastIoFailTmo": "5s"}, []string{"fastIoFailTmo", "5s"}},
		{"port 0", map[string]string{"nvmePort": "0"}, []string{"nvmePort"}},
		{"port too high", map[string]string{"nvmePort": "65536"}, []string{"nvmePort"}},
		{"a name for an address", map[string]string{"nvmeAddress": "array.example"}, []string{"nvmeAddress", "array.example"}},
		{"no address", map[string]string{"nvmeAddress": ""}, []string{"nvmeAddress", "leave it out"}},
		{"one address of two is empty", map[string]string{"nvmeAddress": "192.0.2.1,"}, []string{"nvmeAddress"}},
		{"an option smuggled in", map[string]string{"nvmeAddress": "192.0.2.1,hostnqn=x"}, []string{"nvmeAddress"}},
		{"control character in the pool", map[string]string{"pool": "a\nb"}, []string{"pool"}},
		{"pool too long", map[string]string{"pool": strings.Repeat("p", 129)}, []string{"pool"}},
		{"too much altogether", map[string]string{"csi.storage.k8s.io/pvc/name": strings.Repeat("n", 4096)}, []string{"4096"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := paramsDriver().checkParameters(tt.params)
			if (err == nil) != (tt.texts == nil) || err != nil && fault.KindOf(err) != fault.Invalid {
				t.Fatalf("error %v", err)
			}
			for _, text := range tt.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not have %q", err, text)
				}
			}
		})
	}
}

func TestConnectionComesFromTheClassElseTheFlags(t *testing.T) {
	c, err := paramsDriver().connection(map[string]string{"nvmePort": "4421", "nrIoQueues": "2"})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.portals) != 1 || c.portals[0] != (nvme.Portal{Address: "192.0.2.1", Port: 4421}) {
		t.Errorf("portals %v", c.portals)
	}
	want := nvme.Options{NrIOQueues: 2, CtrlLossTmo: -1, ReconnectDelay: 2, KeepAliveTmo: 5, FastIOFailTmo: -1}
	if c.options != want {
		t.Errorf("options %+v, want %+v", c.options, want)
	}
	d := paramsDriver()
	d.cfg.Controller.Addresses = nil
	if _, err := d.connection(nil); fault.KindOf(err) != fault.Precondition || !strings.Contains(err.Error(), "--nvme-address") {
		t.Errorf("without any address: %v", err)
	}
}

// What the controller accepts, the node can use, and it reads the same from the publish context.
func FuzzParameters(f *testing.F) {
	f.Add("192.0.2.1", "4420", "4", "off", "2", "5", "-1")
	f.Add("::1,fe80::1%eth0", "1", "128", "0", "600", "600", "86400")
	f.Add("", "0", "0", "0", "0", "0", "0")
	f.Add("x", "", "-1", "9999999999999999999", "2 ", "+5", "0x1")
	f.Add("192.0.2.1,transport=rdma", "4420,", "4", "1", "2", "5", "1")
	f.Fuzz(func(t *testing.T, address, port, queues, loss, delay, alive, fast string) {
		params := map[string]string{
			keyNVMeAddress: address, keyNVMePort: port, keyNrIOQueues: queues, keyCtrlLossTmo: loss,
			keyReconnectDelay: delay, keyKeepAliveTmo: alive, keyFastIOFailTmo: fast,
		}
		d := paramsDriver()
		if err := d.checkParameters(params); err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("kind %s: %v", fault.KindOf(err), err)
			}
			return
		}
		c, err := d.connection(volumeContext(params))
		if err != nil {
			t.Fatalf("accepted, and then: %v", err)
		}
		published := publishContext(publishedFor(), c)
		a, err := parseAttachment(published, NodeID{})
		if err != nil {
			t.Fatalf("the node refuses %v: %v", published, err)
		}
		if a.target.Options != c.options || len(a.target.Portals) != len(c.portals) {
			t.Errorf("the node reads %+v, the controller meant %+v %+v", a.target, c.portals, c.options)
		}
		for _, p := range a.target.Portals {
			if strings.ContainsAny(p.Address, ", =\n\x00") {
				t.Errorf("address %q would be read as options", p.Address)
			}
		}
	})
}

func TestCtrlLossTmoOfAPublishContext(t *testing.T) {
	for text, want := range map[string]int{"-1": -1, "off": -1, "0": 0, "600": 600} {
		if got, err := CtrlLossTmo(map[string]string{keyCtrlLossTmo: text}); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	if got, err := CtrlLossTmo(nil); err != nil || got != defaultOptions().CtrlLossTmo {
		t.Errorf("not given: %d, %v; want what the node connects with", got, err)
	}
	if _, err := CtrlLossTmo(map[string]string{keyCtrlLossTmo: "long"}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), keyCtrlLossTmo) {
		t.Errorf("long: %v", err)
	}
}

func TestVolumeContextHasNothingThatIsNotForTheNode(t *testing.T) {
	params := map[string]string{
		"array": "rds", "pool": "p", "nrIoQueues": "4", "nvmePort": "4420", keyPVCName: "data", keyPVCNamespace: "default", keyPVName: "pv",
		sidecarPrefix + "provisioner-secret-name": "s",
	}
	want := map[string]string{"blank": "true", "nrIoQueues": "4", "nvmePort": "4420", keyPVCName: "data", keyPVCNamespace: "default"}
	if got := volumeContext(params); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
