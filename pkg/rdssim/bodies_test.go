package rdssim

import (
	"strings"
	"testing"
)

// Longer bodies of a client that keeps its record in the comment: text after
// " -- " is replaced, the rest stays.
const (
	exportBody = `:local rdsD [/disk find where slot="<S>"]; :put ("@@N n=" . [:len $rdsD]); :local rdsF [/disk find where slot="<S>" type=file nvme-tcp-export=no]; ` +
		`:put ("@@N free=" . [:len $rdsF]); :if ([:len $rdsF] = 1) do={:local rdsC [:tostr [/disk get $rdsF comment]]; :local rdsP [:find $rdsC " -- "]; ` +
		`:if ([:typeof $rdsP] = "num") do={:set rdsC [:pick $rdsC 0 $rdsP]}; ` +
		`:if (([:pick $rdsC 0 16] = "rds-csi cluster=") && ([:pick $rdsC 0 18] != "rds-csi cluster=k ")) do={:error "other cluster"}; ` +
		`:local rdsG [/disk get $rdsF file-path]; :if ([:len [/file find where name=[:pick $rdsG 1 [:len $rdsG]]]] = 0) do={:error "backing file is gone"}; ` +
		`:if ([:pick $rdsC 0 16] = "rds-csi cluster=") do={/disk set $rdsF comment=($rdsC . " -- HELD") nvme-tcp-server-port=4420 nvme-tcp-server-nqn="<Q>" nvme-tcp-server-allow-host-name="<H>" nvme-tcp-export=yes} ` +
		`else={/disk set $rdsF comment=($rdsC . " -- HELD") nvme-tcp-server-port=4420 nvme-tcp-server-allow-host-name="<H>" nvme-tcp-export=yes}}; ` + rowBody

	removeBody = `:local rdsD [/disk find where slot="<S>" nvme-tcp-export=no]; :if ([:len $rdsD] = 1) do={/disk remove $rdsD}; ` +
		`:foreach rdsG in=[/disk/btrfs/subvolume find where name="<S>"] do={/disk/btrfs/subvolume remove $rdsG}; ` +
		`:foreach rdsG in=[/file find where name~"(^|/)<S>/disk[.]img\$"] do={/file remove $rdsG}; ` +
		`:foreach rdsG in=[/file find where name~"(^|/)<S>\$" type=directory] do={/file remove $rdsG}; ` +
		`:put ("@@N items=" . [:len [/disk find where slot="<S>"]]); :put ("@@N files=" . [:len [/file find where name~"(^|/)<S>/"]])`

	growBody = `:local rdsD [/disk find where slot="<S>"]; :if ([/disk get $rdsD size] < 2147483648) do={/disk set $rdsD file-size=2147483648}; ` + rowBody

	prepareBody = `:put ("@@N row=" . [:serialize to=json options=json.no-string-conversion value=[/disk print detail as-value where mount-point="<P>"]]); ` +
		`:foreach rdsR in=[/disk print detail as-value proplist=slot,size,file-path,type where type=file] do={:put ("@@N vol=" . [:serialize to=json options=json.no-string-conversion value=$rdsR])}`
)

func TestBodiesThatKeepTheirRecordInTheComment(t *testing.T) {
	for _, pool := range []string{"storage-pool", "xpool"} {
		t.Run(pool, func(t *testing.T) {
			a := start(t, Options{Pools: []Pool{{"storage-pool", "btrfs", 100 << 30}, {"xpool", "ext4", 50 << 30}}})
			client := dial(t, a)
			expect(t, run(t, client, createBody, pool), "ok=1")
			quiet(t, a, `/disk set csi-1 comment="rds-csi cluster=k ns/pvc -- free"`)
			prepared := run(t, client, prepareBody, pool)
			if want := `{".id":"*`; len(prepared["vol"]) != 1 || !strings.HasPrefix(prepared.one("vol"), want) || prepared.row(t)["slot"] != pool {
				t.Errorf("prepared %v", prepared)
			}
			exported := run(t, client, exportBody, pool)
			expect(t, exported, "ok=1 n=1 free=1")
			if got := exported.row(t)["comment"]; got != "rds-csi cluster=k ns/pvc -- HELD" || !a.MayConnect(testNQN, "nqn.host") {
				t.Errorf("comment %q", got)
			}
			grown := run(t, client, growBody, pool)
			if got := grown.row(t)["size"]; got != float64(2<<30) {
				t.Errorf("size %v in %v", got, grown)
			}
			expect(t, run(t, client, growBody, pool), "ok=1")
			expect(t, run(t, client, unpublishBody, pool), "ok=1 mine=1")
			expect(t, run(t, client, removeBody, pool), "ok=1 items=0 files=0")
			expect(t, run(t, client, removeBody, pool), "ok=1 items=0 files=0")
		})
	}
}

func TestExportBodyRefusals(t *testing.T) {
	a := start(t, Options{})
	client := dial(t, a)
	expect(t, run(t, client, exportBody, "storage-pool"), "ok=1 n=0 free=0")
	run(t, client, createBody, "storage-pool")
	quiet(t, a, `/disk set csi-1 comment="rds-csi cluster=other ns/pvc"`)
	if r := run(t, client, exportBody, "storage-pool"); r.one("err") != "other cluster" || r.one("ok") != "" {
		t.Errorf("got %v", r)
	}
	quiet(t, a, `/disk set csi-1 comment="hand made"`)
	if err := a.RemoveFile("csi-1"); err != nil {
		t.Fatal(err)
	}
	if r := run(t, client, exportBody, "storage-pool"); r.one("err") != "backing file is gone" || r.one("ok") != "" {
		t.Errorf("got %v", r)
	}
}

func TestAParseErrorInABodyLeavesOnlyTheSentinel(t *testing.T) {
	client := dial(t, start(t, Options{Version: "7.20.8"}))
	out, err := remote(client, keyed(publishBody, "storage-pool"))
	if err != nil {
		t.Fatal(err)
	}
	text, sentinel, _ := strings.Cut(out, "\r\n")
	if !strings.HasPrefix(text, "bad parameter nvme-tcp-server-nqn (line 1 column ") || sentinel != "@@N end=1\r\n" {
		t.Errorf("got %q", out)
	}
}
