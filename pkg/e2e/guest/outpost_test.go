package guest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
)

// What the second guest of a pair offers to the first, see outpost and remote.
const (
	outpostCalls   = secondAddress + ":7000" // net/rpc
	outpostSocket  = secondAddress + ":7001" // the CSI socket
	outpostMetrics = secondAddress + ":7002"
	outpostDir     = "/tmp/outpost"
	outpostNode    = "node-a"
)

// outpost is a node with a kernel of its own, in the second guest: a node plugin, and pods. The first guest
// makes all its calls, and has its tests: see remote.
type outpost struct {
	t    *testing.T
	node *node
	pods []*container
}

// serveOutpost is what the second guest does until the first has ended all its tests. Each connection is one
// test there, and starts from nothing.
func serveOutpost(t *testing.T) {
	// A node that was fenced waits for ever, until it is told to let go: that is what it is here for. What
	// must not hang the tests wait for, with a deadline.
	write(t, "/proc/sys/kernel/hung_task_timeout_secs", "0")
	l, err := net.Listen("tcp", outpostCalls)
	ok(t, err)
	defer l.Close()
	for {
		ok(t, l.(*net.TCPListener).SetDeadline(time.Now().Add(2*program.Patience)))
		conn, err := l.Accept()
		ok(t, err)
		calls := bufio.NewReader(conn)
		name, err := calls.ReadString('\n')
		ok(t, err)
		if name = strings.TrimSpace(name); name == "" {
			return
		}
		t.Run(name, func(t *testing.T) {
			serveCalls(t, struct {
				io.Reader
				io.WriteCloser
			}{calls, conn})
		})
	}
}

func serveCalls(t *testing.T, conn io.ReadWriteCloser) {
	c := &cluster{t: t, dir: outpostDir}
	t.Cleanup(c.tidy)
	o := &outpost{t: t, node: c.newNode(outpostNode, metricsFlag+outpostMetrics)}
	t.Cleanup(func() {
		for _, p := range o.pods {
			p.kill()
		}
	})
	forward(t, outpostSocket, filepath.Join(o.node.dir, "csi.sock"))
	server := rpc.NewServer()
	ok(t, server.RegisterName("Outpost", &OutpostCalls{o}))
	server.ServeConn(conn)
}

// forward brings a unix socket to the network.
func forward(t *testing.T, address, socket string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	ok(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil { // the end
				return
			}
			go func() {
				defer from.Close()
				to, err := net.Dial("unix", socket)
				if err != nil {
					return
				}
				defer to.Close()
				go func() {
					_, _ = io.Copy(to, from)
					_ = to.(*net.UnixConn).CloseWrite()
				}()
				_, _ = io.Copy(from, to)
			}()
		}
	}()
}

// OutpostCalls are the calls that the first guest makes.
type OutpostCalls struct{ o *outpost }

// OutpostState is what can be seen of a node.
type OutpostState struct {
	Controllers, Mounts, Records []string
}

// State never touches a mount.
func (c *OutpostCalls) State(_ bool, s *OutpostState) error {
	s.Controllers, s.Mounts, s.Records = controllers(c.o.t), mountsBelow(c.o.t, outpostDir), c.o.node.records()
	return nil
}

// Log is what the node plugin has logged.
func (c *OutpostCalls) Log(_ bool, log *string) error {
	*log = c.o.node.Stderr.String()
	return nil
}

// Logged is how often a text is in the node plugin's log.
func (c *OutpostCalls) Logged(text string, times *int) error {
	*times = strings.Count(c.o.node.Stderr.String(), text)
	return nil
}

// KernelSaid is how often a text is in the kernel's messages.
func (c *OutpostCalls) KernelSaid(text string, times *int) error {
	messages := make([]byte, mib)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, messages)
	if err == nil {
		*times = strings.Count(string(messages[:n]), text)
	}
	return err
}

// Mkdir makes a directory, as kubelet does before its calls.
func (c *OutpostCalls) Mkdir(path string, _ *bool) error { return os.MkdirAll(path, 0o750) }

// Ran is how a program has ended.
type Ran struct {
	Code   int
	Output string
}

// Release runs rds-csi-plugin release for a volume.
func (c *OutpostCalls) Release(volume string, r *Ran) error {
	out, err := exec.Command(built("rds-csi-plugin"), "release", "--plugin-dir="+c.o.node.dir, volume).CombinedOutput()
	r.Output = string(out)
	if exit, ended := errors.AsType[*exec.ExitError](err); ended {
		r.Code, err = exit.ExitCode(), nil
	}
	return err
}

// Pod starts one that has a path open, and gives the address at which it takes PodCalls.
func (c *OutpostCalls) Pod(path string, address *string) error {
	p, err := startContainer(path)
	if err != nil {
		return err
	}
	c.o.pods = append(c.o.pods, p)
	*address = p.address
	return nil
}

// EndPods kills all pods, and tells whether they are gone. A program in an uninterruptible sleep is not.
func (c *OutpostCalls) EndPods(_ bool, gone *bool) error {
	*gone = true
	for _, p := range c.o.pods {
		*gone = p.kill() && *gone
	}
	return nil
}

// container is a pod as a process in a mount namespace of its own, in which it keeps the mounts it began
// with, as a container does.
type container struct {
	cmd     *exec.Cmd
	address string
	gone    chan struct{}
}

func startContainer(path string) (*container, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p := &container{cmd: exec.Command("/proc/self/exe", "-test.run=^TestPairPod$"), gone: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), podPath+"="+path)
	p.cmd.ExtraFiles = []*os.File{w}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Unshareflags: syscall.CLONE_NEWNS} // Go makes its mounts private
	err = p.cmd.Start()
	_ = w.Close()
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(p.gone)
		_ = p.cmd.Wait()
	}()
	address, err := bufio.NewReader(r).ReadString('\n')
	p.address = strings.TrimSpace(address)
	return p, err
}

func (p *container) kill() (gone bool) {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // once gone is no harm
	select {
	case <-p.gone:
		return true
	case <-time.After(3 * time.Second):
		return false
	}
}
