package rdssim

import (
	"strings"
	"testing"
	"time"
)

func TestTablesForHumans(t *testing.T) {
	a := start(t, Options{Pools: []Pool{{"storage-pool", "btrfs", 100 << 30}, {"xpool", "xfs", 1100 << 30}}})
	a.booted, a.now = time.Unix(0, 0), func() time.Time { return time.Unix(788645, 0) }
	quiet(t, a,
		`/disk/btrfs/subvolume add fs=storage-pool-fs name=csi-1`,
		`/disk add type=file slot=csi-1 file-path=storage-pool/csi-1/disk.img file-size=50G mount-filesystem=no comment="rds-csi cluster=k ns/pvc -- a \"quoted\" text"`,
		`/disk/btrfs/subvolume add fs=storage-pool-fs name=snp-1 parent=csi-1 read-only=yes`,
		`/file add name=xpool/vms type=directory`,
		`/file add name=xpool/readme.txt contents="hello"`,
		`/file add name=xpool/notes contents=x`,
		`/disk add type=file slot=vm-storage-001 file-path=/xpool/vms/vm-storage-001.img file-size=1T mount-filesystem=no nvme-tcp-export=yes nvme-tcp-server-nqn=nqn.2026-09.com.mikrotik:rds2216.vm-storage-001 nvme-tcp-server-allow-host-name=nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-00000000abcd`,
	)
	for name, lines := range map[string][]string{
		"disk-print.txt": {`/disk print`, `/disk print where slot~"csi"`, `/disk print show-ids`, `/disk print where slot=none`,
			`/disk print proplist=slot,file-size,comment`, `/disk print count-only`, `:put [/disk print count-only]`, `/disk print from=csi-1`},
		"disk-print-detail.txt": {`/disk print detail`, `/disk print detail where slot=none`, `/disk print detail proplist=slot,size where type=file`, `/disk print detail show-ids where slot=csi-1`},
		"disk-print-terse.txt":  {`/disk print terse where type=file`},
		"disk-as-value.txt": {`/disk print as-value`, `:put [/disk print as-value where slot=csi-1]`, `:put [/disk print detail as-value where slot=vm-storage-001]`,
			`:put [/disk get storage-pool]`, `:put [/disk get csi-1 file-size]`},
		"file-print.txt":   {`/file print`, `/file print detail`, `/file print detail where name="xpool"`, `:put [/file print as-value where name~"img\$"]`, `:put [/file get xpool/notes type]`},
		"btrfs-print.txt":  {`/disk/btrfs/filesystem print`, `/disk/btrfs/filesystem print detail`, `/disk/btrfs/subvolume print`, `/disk/btrfs/subvolume print detail`},
		"system-print.txt": {`/system resource print`, `/system/identity/print`, `:put [/system/resource print as-value]`, `/disk monitor-traffic csi-1 once`},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			for _, line := range lines {
				out.WriteString("> " + line + "\n" + a.Run(t.Context(), line))
			}
			golden(t, name, out.String())
		})
	}
}

func TestUptimeLeavesOutZeroUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", time.Hour: "1h", 26*time.Hour + 61*time.Second: "1d2h1m1s", 8 * 24 * time.Hour: "1w1d",
	} {
		if got := uptime(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestRoundedAndGroupedSizes(t *testing.T) {
	for n, want := range map[int64][2]string{
		0: {"0", "0"}, 999: {"999", "999"}, 1000: {"1000", "1 000"}, 1023: {"1023", "1 023"}, 1536: {"1.5KiB", "1 536"},
		10 << 20: {"10.0MiB", "10 485 760"}, 1 << 40: {"1024.0GiB", "1 099 511 627 776"},
	} {
		if got := [2]string{rounded(n), grouped(n)}; got != want {
			t.Errorf("%d reads %q, want %q", n, got, want)
		}
	}
}
