package guest

import (
	"context"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/e2e/program"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// remote is the node of the second guest. It is a node like those of this guest, and its files are on its own
// machine. It has two ways to the array. They begin in this guest: an initiator that sends to a program on its
// own machine is more than Linux 6.1 can bear. Its pages go out unchanged, two large ones that happen to be
// side by side as one, and what the program would then be given is "Kernel memory exposure" (mm/usercopy.c).
type remote struct {
	*node
	calls *rpc.Client
	ways  [2]*proxy
}

// newRemote begins a session with the second guest, which starts a node plugin. At the end nothing may be left.
func (c *cluster) newRemote() *remote {
	c.t.Helper()
	_, name, _ := strings.Cut(c.t.Name(), "/")
	r := &remote{node: &node{cluster: c, name: outpostNode}, calls: rpc.NewClient(callOutpost(c.t, name))}
	c.t.Cleanup(func() { _ = r.calls.Close() })
	r.plugin = &plugin{t: c.t, dir: filepath.Join(outpostDir, outpostNode), address: outpostMetrics}
	r.state() // is answered once the node plugin serves
	csiConn, err := grpc.NewClient("passthrough:///"+outpostSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	ok(c.t, err)
	c.t.Cleanup(func() { _ = csiConn.Close() })
	r.NodeClient = csi.NewNodeClient(csiConn)
	ctx, cancel := context.WithTimeout(context.Background(), rpcTimeout)
	defer cancel()
	info, err := r.NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
	ok(c.t, err)
	r.id = info.GetNodeId()
	for i := range r.ways {
		r.ways[i] = newProxyAt(c.t, firstAddress+":0", nvme.Portal{Address: firstAddress, Port: nvmePort})
	}
	r.by(0)
	c.t.Cleanup(r.end)
	return r
}

// callOutpost begins a session for a test, or ends them all where that has no name.
func callOutpost(t *testing.T, name string) (conn net.Conn) {
	t.Helper()
	program.Await(t, "the second guest answers", func() (answers bool) {
		var err error
		conn, err = net.DialTimeout("tcp", outpostCalls, time.Second)
		return err == nil
	})
	_, err := fmt.Fprintln(conn, name)
	ok(t, err)
	return conn
}

func (r *remote) end() {
	s := r.state()
	switch left := slices.Concat(s.Controllers, s.Mounts, s.Records); {
	case r.t.Failed():
		var log string
		r.call("Log", true, &log)
		r.t.Logf("the remote node's plugin:\n%s", log)
	case len(left) > 0:
		r.t.Errorf("left behind on the remote node:\n%s", strings.Join(left, "\n"))
	}
	_ = os.RemoveAll(outpostDir) // of this guest, see mkdir
}

func (r *remote) call(method string, args, reply any) {
	r.t.Helper()
	ok(r.t, callWithin(r.calls, "Outpost."+method, args, reply))
}

func callWithin(client *rpc.Client, method string, args, reply any) error {
	select {
	case call := <-client.Go(method, args, reply, make(chan *rpc.Call, 1)).Done:
		return call.Error
	case <-time.After(program.Patience):
		return fmt.Errorf("%s has not come back in %s", method, program.Patience)
	}
}

func (r *remote) state() OutpostState {
	r.t.Helper()
	var s OutpostState
	r.call("State", true, &s)
	return s
}

// logged is how often a text is in the node plugin's log.
func (r *remote) logged(text string) (times int) {
	r.t.Helper()
	r.call("Logged", text, &times)
	return times
}

// kernelSaid is how often a text is in the kernel's messages.
func (r *remote) kernelSaid(text string) (times int) {
	r.t.Helper()
	r.call("KernelSaid", text, &times)
	return times
}

// await is program.Await for what takes calls, at a slower pace.
func (r *remote) await(what string, ok func() bool) {
	r.t.Helper()
	next := time.Now()
	program.Await(r.t, what, func() bool {
		if time.Now().Before(next) {
			return false
		}
		next = time.Now().Add(200 * time.Millisecond)
		return ok()
	})
}

// by has what is staged from now on reach the array by a way.
func (r *remote) by(way int) { r.through(r.ways[way]) }

// attach is cluster.attach, for this node.
func (r *remote) attach(ctx context.Context, v *volume, pod string) error {
	r.t.Helper()
	for _, path := range []string{r.staging(v), r.path(v, pod)} { // what is there may be dead: it is not touched
		r.call("Mkdir", filepath.Dir(path), new(bool))
	}
	return r.cluster.attach(ctx, v, r.node, pod)
}

// release runs rds-csi-plugin release there.
func (r *remote) release(v *volume) Ran {
	r.t.Helper()
	var ran Ran
	r.call("Release", v.id, &ran)
	return ran
}

// pod starts one that uses what is published to it.
func (r *remote) pod(v *volume, name string) *remotePod {
	r.t.Helper()
	var address string
	r.call("Pod", r.path(v, name), &address)
	client, err := rpc.Dial("tcp", address)
	ok(r.t, err)
	r.t.Cleanup(func() { _ = client.Close() })
	return &remotePod{t: r.t, calls: client}
}

// endPods tells whether they are gone.
func (r *remote) endPods() bool {
	r.t.Helper()
	var gone bool
	r.call("EndPods", true, &gone)
	return gone
}

// remotePod makes PodCalls to a pod there.
type remotePod struct {
	t     *testing.T
	calls *rpc.Client
}

func (p *remotePod) call(method string, args, reply any) {
	p.t.Helper()
	ok(p.t, callWithin(p.calls, "Pod."+method, args, reply))
}

func (p *remotePod) write(d PodData) { p.t.Helper(); p.call("Write", d, new(bool)) }

func (p *remotePod) writeDirect(d PodData) { p.t.Helper(); p.call("WriteDirect", d, new(bool)) }

func (p *remotePod) check(d PodData) { p.t.Helper(); p.call("Check", d, new(bool)) }

func (p *remotePod) beginSync() { p.t.Helper(); p.call("BeginSync", true, new(bool)) }

func (p *remotePod) synced() PodSync {
	p.t.Helper()
	var s PodSync
	p.call("Synced", true, &s)
	return s
}

// localPod is a pod of a node in this guest.
type localPod struct {
	t     *testing.T
	calls *PodCalls
}

func newLocalPod(t *testing.T, path string) *localPod {
	t.Helper()
	calls, err := openPod(path)
	ok(t, err)
	return &localPod{t, calls}
}

func (p *localPod) write(d PodData) { p.t.Helper(); ok(p.t, p.calls.Write(d, nil)) }

func (p *localPod) writeDirect(d PodData) { p.t.Helper(); ok(p.t, p.calls.WriteDirect(d, nil)) }

func (p *localPod) check(d PodData) { p.t.Helper(); ok(p.t, p.calls.Check(d, nil)) }

// end closes its files.
func (p *localPod) end() {
	p.t.Helper()
	for _, f := range p.calls.areas {
		ok(p.t, f.Close())
	}
}
