package nvmetest_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme/nvmetest"
)

// What Linux answered to these writes: facts/vm.md "What the kernel did" 2, facts/nvme.md §1.2.
func TestCreateRefusesWhatTheKernelRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(string) string
		want   error
	}{
		{"a second of the same", func(s string) string { return s }, unix.EALREADY},
		{"duplicate_connect", func(s string) string { return s + ",duplicate_connect" }, nil},
		{"an unknown option", func(s string) string { return s + ",colour=blue" }, unix.EINVAL},
		{"an option twice", func(s string) string { return s + ",transport=tcp" }, unix.EALREADY},
		{"an option without its value", func(s string) string { return s + ",ctrl_loss_tmo=" }, unix.EINVAL},
		{"a time-out that is no number", func(s string) string { return s + ",ctrl_loss_tmo=off" }, unix.EINVAL},
		{"no port: the discovery port", func(s string) string { return cut(s, "trsvcid=") }, unix.ECONNREFUSED},
		{"no NQN", func(s string) string { return cut(s, "nqn=") }, unix.EINVAL},
		{"an unknown NQN", func(s string) string { return strings.Replace(s, ",nqn=nqn.test:v", ",nqn=nqn.test:v1", 1) }, unix.EIO},
		{"a host that is not allowed", func(s string) string { return otherID(otherHost(s)) }, unix.EIO},
		{"another host ID", otherID, unix.EINVAL},
		{"another host NQN with this ID", otherHost, unix.EINVAL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := nvmetest.NewKernel(t, nvmetest.Options{Multipath: true, StrictHostID: true})
			k.Export(nvmetest.Subsystem{NQN: "nqn.test:v", Hosts: []string{nvmetest.HostNQN}, Size: 1 << 20})
			p := k.AddPortal()
			base := fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%d,nqn=nqn.test:v,hostnqn=%s,hostid=%s", p.Address, p.Port, nvmetest.HostNQN, nvmetest.HostID)
			if answer, err := k.Create(base); err != nil || answer != "instance=0,cntlid=1" {
				t.Fatalf("the first: %q, %v", answer, err)
			}
			if _, err := k.Create(tt.change(base)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func otherID(s string) string { return strings.Replace(s, "hostid=1", "hostid=2", 1) }

func otherHost(s string) string {
	return strings.Replace(s, "hostnqn="+nvmetest.HostNQN, "hostnqn=nqn.test:h", 1)
}

// Linux before 6.5: the ID is the host's, and the last one given counts for all its controllers.
func TestCreateBeforeHostIDsWereChecked(t *testing.T) {
	k := nvmetest.NewKernel(t, nvmetest.Options{Multipath: true})
	k.Export(nvmetest.Subsystem{NQN: "nqn.test:v", Hosts: []string{nvmetest.HostNQN}, Size: 1 << 20})
	p := k.AddPortal()
	base := fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%d,nqn=nqn.test:v,hostnqn=%s,hostid=%s", p.Address, p.Port, nvmetest.HostNQN, nvmetest.HostID)
	if _, err := k.Create(base); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Create(otherID(base)); !errors.Is(err, unix.EALREADY) {
		t.Errorf("another host ID: %v", err)
	}
	if got, err := os.ReadFile(k.Config().Sys + "/class/nvme/nvme0/hostid"); err != nil || got[0] != '2' {
		t.Errorf("the controller's host ID is %q, %v", got, err)
	}
	if _, err := k.Create(otherHost(base)); !errors.Is(err, unix.EIO) {
		t.Errorf("another host NQN: %v", err)
	}
	if _, err := k.Create(base + ",hostnqn=" + nvmetest.HostNQN); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("the host NQN twice: %v", err)
	}
}

// cut takes one option out of the string.
func cut(options, key string) string {
	kept := []string{}
	for o := range strings.SplitSeq(options, ",") {
		if !strings.HasPrefix(o, key) {
			kept = append(kept, o)
		}
	}
	return strings.Join(kept, ",")
}

func TestWriteRefusesWhatTheKernelRefuses(t *testing.T) {
	k := nvmetest.NewKernel(t, nvmetest.Options{})
	k.Export(nvmetest.Subsystem{NQN: "nqn.test:v", Size: 1 << 20})
	p := k.AddPortal()
	if _, err := k.Create(fmt.Sprintf("transport=tcp,traddr=%s,trsvcid=%d,nqn=nqn.test:v,hostnqn=%s,hostid=%s", p.Address, p.Port, nvmetest.HostNQN, nvmetest.HostID)); err != nil {
		t.Fatal(err)
	}
	dir := k.Config().Sys + "/class/nvme/nvme0/"
	k.SetState("nvme0", "new")
	for path, want := range map[string]error{
		dir + "state": unix.EACCES, dir + "kato": unix.EACCES, dir + "passthru_err_log": unix.ENOENT, dir + "delete_controller": unix.EBUSY,
		k.Config().Sys + "/class/nvme/nvme7/delete_controller": unix.ENOENT,
	} {
		if err := k.Set(path, "1"); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if err := k.Set(dir+"ctrl_loss_tmo", "off"); !errors.Is(err, unix.EINVAL) { // what a read shows cannot be written
		t.Errorf("off: %v", err)
	}
	for _, step := range []struct{ attr, value, want string }{ // of ten seconds a reconnect, then of four
		{"ctrl_loss_tmo", "-1", "off"}, {"ctrl_loss_tmo", "30", "30"}, {"ctrl_loss_tmo", "31", "40"}, {"ctrl_loss_tmo", "0", "0"},
		{"ctrl_loss_tmo", "20", "20"}, {"reconnect_delay", "4", "8"}, {"ctrl_loss_tmo", "5", "8"},
	} {
		if err := k.Set(dir+step.attr, step.value); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(dir + "ctrl_loss_tmo"); err != nil || strings.TrimSpace(string(got)) != step.want {
			t.Errorf("%s=%s: ctrl_loss_tmo reads as %q, %v; want %s", step.attr, step.value, got, err, step.want)
		}
	}
}
