package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// graceAtEnd is what a guest has left when its tests have run out of time.
	graceAtEnd = time.Minute
	virtiofsd  = "/usr/lib/qemu/virtiofsd" // where Debian has it
)

// machine is a running guest.
type machine struct {
	guest
	console string // the file with the kernel's messages
	log     string // the file with what qemu says
	qemu    *exec.Cmd
	tests   *report
	code    *report
	readers sync.WaitGroup
	ended   chan struct{}
	begun   time.Time
}

// boot starts a guest, and waits until its init has. It is gone at the end of the test, whatever happens.
func boot(t *testing.T, g guest) *machine {
	t.Helper()
	return launch(t, g).steady(t)
}

// launch is boot that waits for nothing.
func launch(t *testing.T, g guest) *machine {
	t.Helper()
	image := os.Getenv("RDS_E2E_VM")
	file := filepath.Join(t.ArtifactDir(), g.name)
	m := &machine{guest: g, console: file + ".console", log: file + ".qemu", ended: make(chan struct{}), begun: time.Now()}
	socket := m.serveFiles(t, g.share(t))
	m.tests, m.code = newReport(g.name+"| ", os.Stdout), newReport("", nil)
	m.qemu = exec.Command("qemu-system-x86_64", m.arguments(image, socket)...)
	m.qemu.ExtraFiles = []*os.File{m.pipe(t, m.tests), m.pipe(t, m.code)}
	if g.link != nil {
		m.qemu.ExtraFiles = append(m.qemu.ExtraFiles, g.link)
	}
	start(t, m.qemu, m.log)
	for _, f := range m.qemu.ExtraFiles[:2] {
		_ = f.Close() // qemu has its own
	}
	go func() {
		defer close(m.ended)
		_ = m.qemu.Wait() // what counts is the code that the guest sends
		m.readers.Wait()
	}()
	t.Cleanup(func() { stop(t, m.qemu, m.ended) })
	return m
}

// steady waits until the guest's init has begun, or the guest has ended. One that stumbled while its kernel
// booted is launched once more: none of what is tested ran in it.
func (m *machine) steady(t *testing.T) *machine {
	t.Helper()
	if m.begins() || !stumbled(lastLines(m.console, 200)) {
		return m
	}
	t.Logf("%s stumbled and is booted again; its console's last lines:\n%s", m.name, lastLines(m.console, 60))
	again := launch(t, m.guest)
	again.begins()
	return again
}

// begins tells whether the guest's init begins, before the guest ends or its time does.
func (m *machine) begins() bool {
	for time.Since(m.begun) < m.limit {
		if _, begun := m.code.value("start"); begun {
			return true
		}
		select {
		case <-m.ended:
			_, begun := m.code.value("start")
			return begun
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// stumbled tells whether a console is that of a kernel that died of the emulation. While it boots, Linux patches
// its own code by way of a breakpoint, and an emulated processor can hit that after its handler has gone (seen on
// 6.12 after three seconds, once in some hundred boots).
func stumbled(console string) bool {
	return strings.Contains(console, "Oops: int3") && strings.Contains(console, "Kernel panic")
}

// start runs a command that does not outlive this process, in a group of its own. Its parent is a thread,
// but the Go runtime ends none that was not locked to a goroutine.
func start(t *testing.T, cmd *exec.Cmd, log string) {
	t.Helper()
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// stop kills the group of a command and waits for done, which is closed when the command is.
func stop(t *testing.T, cmd *exec.Cmd, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
		return
	default:
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Errorf("kill %s: %v", cmd.Path, err)
	}
	<-done
}

// serveFiles runs virtiofsd and gives its socket, whose path must be short.
func (m *machine) serveFiles(t *testing.T, dir string) string {
	t.Helper()
	short, err := os.MkdirTemp("", "vm-")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(short, "files")
	files := exec.Command(virtiofsd, "--socket-path="+socket, "-o", "source="+dir, "-o", "cache=always", "-o", "sandbox=chroot")
	start(t, files, filepath.Join(t.ArtifactDir(), m.name+".virtiofsd"))
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = files.Wait() // it ends with qemu, or is killed
	}()
	t.Cleanup(func() {
		stop(t, files, gone)
		if err := os.RemoveAll(short); err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return socket
		}
		select {
		case <-gone:
			t.Fatalf("virtiofsd has ended: %s", lastLines(filepath.Join(t.ArtifactDir(), m.name+".virtiofsd"), 20))
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("virtiofsd made no socket in a minute")
		}
	}
}

// pipe gives the end that qemu writes to.
func (m *machine) pipe(t *testing.T, to *report) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	m.readers.Go(func() {
		defer r.Close()
		to.read(r)
	})
	return w
}

// arguments of qemu. The processor is emulated: there is no KVM where this runs in a container. Of the
// machines pc alone boots without further ado, microvm has no timer that works without KVM.
func (m *machine) arguments(image, socket string) []string {
	memory := strconv.Itoa(m.memory) + "M"
	args := []string{
		"-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", memory,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(image, "vmlinuz-"+m.kernel), "-initrd", filepath.Join(image, "initrd-"+m.kernel+".img"),
		"-serial", "file:" + m.console,
		"-device", "virtio-serial-pci",
		"-chardev", "file,id=out,path=/dev/fd/3", "-device", "virtserialport,chardev=out,name=vm.out",
		"-chardev", "file,id=code,path=/dev/fd/4", "-device", "virtserialport,chardev=code,name=vm.code",
		// virtiofsd reads and writes the guest's memory.
		"-object", "memory-backend-memfd,id=ram,share=on,size=" + memory, "-numa", "node,memdev=ram",
		"-chardev", "socket,id=files,path=" + socket, "-device", "vhost-user-fs-pci,chardev=files,tag=share",
	}
	// The messages of all levels but debug go to the console, where complaints looks at them.
	// Nothing that runs after an oops means anything.
	parameters := "console=ttyS0 loglevel=7 panic=-1 oops=panic reboot=t mitigations=off nokaslr tsc=reliable no_timer_check audit=0 " +
		"apparmor=0 random.trust_cpu=on rcupdate.rcu_expedited=1 net.ifnames=0 "
	if m.kernel == "6.1" {
		// Initiator and target are in one machine. TCP joins what is sent from adjacent pages to one piece, and
		// the receiver's check takes that for a copy beyond its page (mm/usercopy.c:101, "page alloc").
		parameters += "hardened_usercopy=off "
	}
	if m.link != nil {
		args = append(args, "-netdev", "socket,id=link,fd=5",
			"-device", fmt.Sprintf("virtio-net-pci,netdev=link,romfile=,mac=52:54:00:12:34:%02x", m.station))
		parameters += fmt.Sprintf("vm.address=10.77.0.%d/24 ", m.station)
	}
	return append(args, "-append", parameters+strings.Join(m.parameters, " "))
}

// wait lets the guest run to its end and fails the test unless all is well with it.
func (m *machine) wait(t *testing.T) {
	t.Helper()
	for _, problem := range m.problems(t) {
		t.Errorf("%s: %s", m.name, problem)
	}
	uptime, _ := m.code.value("start")
	t.Logf("%s: %s in all, of which the guest took %s s to boot", m.name, time.Since(m.begun).Round(100*time.Millisecond), uptime)
}

// problems waits for the guest's end and lists what was wrong with it.
func (m *machine) problems(t *testing.T) []string {
	t.Helper()
	var list []string
	select {
	case <-m.ended:
	case <-time.After(m.limit - time.Since(m.begun)):
		list = append(list, fmt.Sprintf("still running after %s", m.limit))
		stop(t, m.qemu, m.ended)
	}
	switch code, sent := m.code.value("code"); {
	case !sent:
		list = append(list, fmt.Sprintf("it has ended without an exit code; qemu: %s\nthe console's last lines:\n%s", lastLines(m.log, 20), lastLines(m.console, 60)))
	case code != "0":
		list = append(list, fmt.Sprintf("exit code %s; failed are:\n%s", code, strings.Join(m.tests.failed(), "\n")))
	}
	return append(list, m.complaints()...)
}
