package rdssim

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// The bodies of a client: keyed lines in one exec, closed by a sentinel (facts:
// routeros-scripts.md).
const (
	rowBody = `:put ("@@N row=" . [:serialize to=json options=json.no-string-conversion value=[/disk print detail as-value where slot="<S>"]])`

	createBody = `:if ([:len [/disk find where slot="<S>"]] = 0) do={:if ([:len [/file find where name="<P>/<S>/disk.img"]] > 0) do={:error "leftover file"}; ` +
		`<DIR>; :put ("@@N id=" . [/disk add type=file slot="<S>" file-path="/<P>/<S>/disk.img" file-size=<B> comment="<C>" mount-filesystem=no smb-sharing=no nfs-sharing=no media-sharing=no iscsi-export=no nvme-tcp-export=no])}; ` + rowBody
	plainDir = `:if ([:len [/file find where name="<P>/<S>"]] = 0) do={/file add name="<P>/<S>" type=directory}`
	btrfsDir = `:if ([:len [/disk/btrfs/subvolume find where fs="<P>-fs" name="<S>"]] = 0) do={/disk/btrfs/subvolume add fs="<P>-fs" name="<S>"}`

	getBody = `:local rdsD [/disk find where slot="<S>"]; :put ("@@N n=" . [:len $rdsD]); :if ([:len $rdsD] = 1) do={` + rowBody + `}`

	publishBody = `:local rdsF [/disk find where slot="<S>" nvme-tcp-export=no]; :put ("@@N n=" . [:len [/disk find where slot="<S>"]]); :put ("@@N free=" . [:len $rdsF]); ` +
		`:if ([:len $rdsF] = 1) do={/disk set $rdsF comment="<C>" nvme-tcp-server-port=4420 nvme-tcp-server-nqn="<Q>" nvme-tcp-server-allow-host-name="<H>" nvme-tcp-export=yes}; ` + rowBody
	unpublishBody = `:local rdsX [/disk find where slot="<S>" nvme-tcp-export=yes nvme-tcp-server-allow-host-name="<H>"]; :put ("@@N mine=" . [:len $rdsX]); ` +
		`:if ([:len $rdsX] = 1) do={/disk set $rdsX nvme-tcp-export=no comment="<C>"}; ` + rowBody

	deleteBody = `:local rdsD [/disk find where slot="<S>" nvme-tcp-export=no]; :if ([:len $rdsD] = 1) do={/disk remove $rdsD}; ` +
		`:if ([:len [/disk find where slot="<S>"]] = 0) do={<REMOVE>}; :put ("@@N items=" . [:len [/disk find where slot="<S>"]]); :put ("@@N files=" . [:len [/file find where name="<P>/<S>/disk.img"]])`
	plainRemove = `/file remove [/file find where name="<P>/<S>/disk.img"]; /file remove [/file find where name="<P>/<S>"]`
	btrfsRemove = `/disk/btrfs/subvolume remove [/disk/btrfs/subvolume find where fs="<P>-fs" name="<S>"]`

	capacityBody = `:put ("@@N row=" . [:serialize to=json options=json.no-string-conversion value=[/disk print detail as-value where mount-point="<P>"]]); :put ("@@N ver=" . [/system/resource get version])`
	listBody     = `:foreach rdsR in=[/disk print detail as-value proplist=slot,size,file-path,comment,nvme-tcp-export,nvme-tcp-server-nqn,nvme-tcp-server-allow-host-name where slot~"^csi-"] do={:put ("@@N row=" . [:serialize to=json options=json.no-string-conversion value=$rdsR])}`
)

const testNQN = "nqn.2000-02.com.mikrotik:csi-1.0a1b2c3d"

// keyed is a body with its placeholders filled in, wrapped as a client does.
func keyed(body, pool string) string {
	dir, remove := plainDir, plainRemove
	if pool == "storage-pool" {
		dir, remove = btrfsDir, btrfsRemove
	}
	body = strings.NewReplacer("<DIR>", dir, "<REMOVE>", remove).Replace(body)
	body = strings.NewReplacer("<S>", "csi-1", "<P>", pool, "<B>", "1073741824", "<C>", "rds-csi cluster=k",
		"<Q>", testNQN, "<H>", "nqn.host").Replace(body)
	return `:onerror rdsE in={` + body + `; :put "@@N ok=1"} do={:put ("@@N err=" . [:tostr $rdsE])}` + "\n" + `:put "@@N end=1"`
}

// keyedReply reads keyed lines; every key may come more than once.
type keyedReply map[string][]string

func run(t *testing.T, client *ssh.Client, body, pool string) keyedReply {
	t.Helper()
	out, err := remote(client, keyed(body, pool))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := keyedReply{}
	for line := range strings.SplitSeq(out, "\r\n") {
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "@@N "), "=")
		if !strings.HasPrefix(line, "@@N ") || !ok {
			if line != "" {
				t.Errorf("stray line %q", line)
			}
			continue
		}
		r[key] = append(r[key], value)
	}
	if r.one("end") != "1" {
		t.Fatalf("no sentinel in %q", out)
	}
	return r
}

func (r keyedReply) one(key string) string { return strings.Join(r[key], "|") }

func (r keyedReply) row(t *testing.T) map[string]any {
	t.Helper()
	var rows []map[string]any
	if err := json.Unmarshal([]byte(r.one("row")), &rows); err != nil {
		t.Fatalf("row %q: %v", r.one("row"), err)
	}
	if len(rows) != 1 {
		t.Fatalf("%d rows, want 1: %v", len(rows), rows)
	}
	return rows[0]
}

func expect(t *testing.T, r keyedReply, want string) {
	t.Helper()
	for pair := range strings.FieldsSeq(want) {
		key, value, _ := strings.Cut(pair, "=")
		if got := r.one(key); got != value {
			t.Errorf("%s is %q, want %q in %v", key, got, value, r)
		}
	}
}

func TestAVolumesLifeOverSSH(t *testing.T) {
	for _, pool := range []string{"storage-pool", "xpool"} {
		t.Run(pool, func(t *testing.T) {
			a := start(t, Options{Pools: []Pool{{"storage-pool", "btrfs", 100 << 30}, {"xpool", "xfs", 50 << 30}}})
			live(t, a, dial(t, a), pool)
		})
	}
}

func live(t *testing.T, a *Array, client *ssh.Client, pool string) {
	backing := filepath.Join(a.opts.Dir, "pools", pool, "csi-1", "disk.img")
	created := run(t, client, createBody, pool)
	expect(t, created, "ok=1 err=")
	row := created.row(t)
	if row["size"] != float64(1<<30) || row["file-path"] != "/"+pool+"/csi-1/disk.img" || row["nvme-tcp-export"] != false {
		t.Errorf("created %v", row)
	}
	if info, err := os.Stat(backing); err != nil || info.Size() != 1<<30 {
		t.Errorf("backing file: %v, %v", info, err)
	}
	if again := run(t, client, createBody, pool); again.one("id") != "" || again.one("ok") != "1" {
		t.Errorf("a repeat made something: %v", again)
	}
	expect(t, run(t, client, getBody, pool), "ok=1 n=1")

	published := run(t, client, publishBody, pool)
	expect(t, published, "ok=1 n=1 free=1")
	if row := published.row(t); row["nvme-tcp-server-nqn"] != testNQN || row["nvme-tcp-server-allow-host-name"] != "nqn.host" {
		t.Errorf("published %v", row)
	}
	if !a.MayConnect(testNQN, "nqn.host") || a.MayConnect(testNQN, "nqn.other") {
		t.Error("the ACL does not say nqn.host alone")
	}
	expect(t, run(t, client, publishBody, pool), "n=1 free=0")
	expect(t, run(t, client, deleteBody, pool), "ok=1 items=1 files=1")

	unpublished := run(t, client, unpublishBody, pool)
	expect(t, unpublished, "ok=1 mine=1")
	if _, shown := unpublished.row(t)["nvme-tcp-server-nqn"]; shown || a.MayConnect(testNQN, "nqn.host") {
		t.Error("still exported")
	}
	expect(t, run(t, client, unpublishBody, pool), "ok=1 mine=0")
	expect(t, run(t, client, listBody, pool), "ok=1")

	expect(t, run(t, client, deleteBody, pool), "ok=1 items=0 files=0")
	if _, err := os.Stat(filepath.Dir(backing)); !os.IsNotExist(err) {
		t.Errorf("directory left: %v", err)
	}
	expect(t, run(t, client, deleteBody, pool), "ok=1 items=0 files=0")
	expect(t, run(t, client, getBody, pool), "ok=1 n=0")
}

func TestCreateRefusesALeftoverFile(t *testing.T) {
	a := start(t, Options{})
	client := dial(t, a)
	run(t, client, createBody, "storage-pool")
	if err := a.RemoveBehindBack("csi-1"); err != nil {
		t.Fatal(err)
	}
	r := run(t, client, createBody, "storage-pool")
	if r.one("ok") != "" || r.one("err") != "leftover file" {
		t.Errorf("got %v", r)
	}
}

func TestCapacityIsExactBytes(t *testing.T) {
	a := start(t, Options{})
	client := dial(t, a)
	run(t, client, createBody, "storage-pool")
	r := run(t, client, capacityBody, "storage-pool")
	row := r.row(t)
	if row["size"] != float64(100<<30) || row["free"] != float64(99<<30) || row["fs"] != "btrfs" ||
		row["fs-label"] != "storage-pool-fs" || row["mounted"] != true || row["state"] != "clean" {
		t.Errorf("pool %v", row)
	}
	if r.one("ver") != "7.24.4 (stable)" {
		t.Errorf("version %q", r.one("ver"))
	}
}

func TestListHasOnlyTheAskedProperties(t *testing.T) {
	a := start(t, Options{})
	for i := range 3 {
		volume(t, a, fmt.Sprintf("csi-%d", i))
	}
	quiet(t, a, `/file add name=storage-pool/o type=directory`, `/disk add type=file file-path=storage-pool/o/x.img file-size=1M slot=other`)
	r := run(t, dial(t, a), listBody, "storage-pool")
	if len(r["row"]) != 3 {
		t.Fatalf("rows %v", r["row"])
	}
	want := `{".id":"*2","file-path":"/storage-pool/csi-0/disk.img","nvme-tcp-export":false,"size":1073741824,"slot":"csi-0"}`
	if r["row"][0] != want {
		t.Errorf("got %s\nwant %s", r["row"][0], want)
	}
}
