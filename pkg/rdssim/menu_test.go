package rdssim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refusal is a line and the only line it prints.
type refusal struct{ line, want string }

// refuses checks that lines fail with their text and leave no item and no file.
func refuses(t *testing.T, tests []refusal) {
	t.Helper()
	a := start(t, Options{Pools: []Pool{{"storage-pool", "btrfs", 10 << 30}, {"xpool", "xfs", 1 << 30}}})
	volume(t, a, "one")
	volume(t, a, "two")
	quiet(t, a, `/disk set one nvme-tcp-export=yes nvme-tcp-server-nqn=nqn.a`,
		`/disk/btrfs/subvolume add fs=storage-pool-fs name=sub`)
	before := a.Run(t.Context(), `:put [/disk print detail as-value]; :put [/file find]`)
	for _, tt := range tests {
		say(t, a, tt.line, tt.want+"\r\n")
	}
	say(t, a, `:put [/disk print detail as-value]; :put [/file find]`, before)
}

func TestWhatAddRefuses(t *testing.T) {
	refuses(t, []refusal{
		{`/disk add slot=x`, "missing value(s) of argument(s) type"},
		{`/disk add type=nonsense`, "input does not match any value of type"},
		{`/disk add type=tmpfs slot=x`, "failure: the simulated array makes only file disks"},
		{`/disk add type=file slot=x`, "missing value(s) of argument(s) file-path"},
		{`/disk add type=file slot=x file-path=../x`, "invalid value for argument file-path"},
		{`/disk add type=file slot=x file-path=storage-pool/one/x`, "failure: file-size must be set for a new file"},
		{`/disk add type=file slot=x file-path=storage-pool/one/x file-size=1Q`, "invalid value for argument file-size"},
		{`/disk add type=file slot=x file-path=storage-pool/one/x file-size=0`, "invalid value for argument file-size"},
		{`/disk add type=file slot=x file-path=storage-pool/none/x file-size=1M`, "failure: directory /storage-pool/none does not exist"},
		{`/disk add type=file slot=x file-path=nopool/x file-size=1M`, "failure: directory /nopool does not exist"},
		{`/disk add type=file slot=x file-path=x file-size=1M`, "failure: directory / does not exist"},
		{`/disk add type=file slot=x file-path=xpool/x file-size=2G`, "failure: not enough space on disk"},
		{`/disk add type=file slot=one file-path=storage-pool/one/x file-size=1M`, "failure: already have such entry"},
		{`/disk add type=file slot=x file-path=storage-pool/one/disk.img file-size=1G`, "failure: already have such entry"},
		{`/disk add type=file slot=a23456789012345678901234567890123 file-path=xpool/x file-size=1M`, "value of slot must be 1..32 characters"},
		{`/disk add type=file slot=x file-path=xpool/x file-size=1M compress=yes`, "compression only available for btrfs"},
		{`/disk add type=file slot=x file-path=xpool/x file-size=1M nvme-tcp-export=maybe`, "input does not match any value of nvme-tcp-export"},
		{`/disk add type=file slot=x file-path=xpool/x file-size=1M nvme-tcp-server-port=99999`, "invalid value for argument nvme-tcp-server-port"},
		{`/disk add type=file slot=x file-path=xpool/x file-size=1M nvme-tcp-server-nqn="../x"`, "invalid value for argument nvme-tcp-server-nqn"},
		{`/disk add type=file slot=x file-path=xpool/x file-size=1M file-offset=5`, "failure: chunk out of file bounds"},
		{`/disk add type=file slot=x file-path=xpool/x file-size=1M nvme-tcp-server-password=p`, "failure: the simulated array does not know argument nvme-tcp-server-password"},
	})
}

func TestWhatOtherDiskCommandsRefuse(t *testing.T) {
	refuses(t, []refusal{
		{`/disk set two nvme-tcp-export=yes nvme-tcp-server-nqn=nqn.a`, "failure: nvme-tcp-server-nqn already in use"},
		{`/disk set one file-size=512M`, "failure: file-size can not be made smaller"},
		{`/disk set one file-size=100G`, "failure: not enough space on disk"},
		{`/disk set one file-path=/storage-pool/elsewhere`, "failure: file-path can not be changed"},
		{`/disk set one type=raid`, "failure: type can not be changed"},
		{`/disk set *99 comment=x`, "no such item"},
		{`/disk set comment=x`, "missing value(s) of argument(s) numbers"},
		{`/disk set storage-pool slot=other`, "could not unmount, stop using it first"},
		{`/disk set storage-pool nvme-tcp-export=yes`, "could not unmount, stop using it first"},
		{`/disk remove storage-pool`, "could not unmount, stop using it first"},
		{`/disk remove`, "missing value(s) of argument(s) numbers"},
		{`/disk get one nonsense`, "input does not match any value of value-name"},
		{`/disk get none slot`, "no such item"},
		{`/disk print proplist=slot,nonsense`, "input does not match any value of proplist"},
		{`/disk print interval=1`, "failure: the simulated array does not know argument interval of print"},
		{`/disk print follow`, "failure: the simulated array does not know argument follow of print"},
		{`/disk set one disabled=yes`, "failure: the simulated array does not disable disks"},
		{`/disk format one`, "failure: the simulated array does not carry out /disk/format"},
		{`/disk monitor-traffic one`, "failure: the simulated array monitors only once"},
	})
}

func TestWhatOtherMenusRefuse(t *testing.T) {
	refuses(t, []refusal{
		{`/file add type=directory`, "missing value(s) of argument(s) name"},
		{`/file add name=storage-pool/one type=directory`, "failure: file already exists"},
		{`/file add name=nowhere/x type=directory`, "failure: directory nowhere does not exist"},
		{`/file add name=storage-pool/x type=pipe`, "input does not match any value of type"},
		{`/file add name=storage-pool/../x type=directory`, "invalid value for argument name"},
		{`/file remove storage-pool/one/disk.img`, "failure: file in use"},
		{`/file remove storage-pool/one`, "failure: file in use"},
		{`/file remove storage-pool`, "failure: file in use"},
		{`/disk/btrfs/subvolume add fs=storage-pool name=x`, "input does not match any value of fs"},
		{`/disk/btrfs/subvolume add fs=xpool-fs name=x`, "input does not match any value of fs"},
		{`/disk/btrfs/subvolume add name=x`, "missing value(s) of argument(s) fs"},
		{`/disk/btrfs/subvolume add fs=storage-pool-fs name=sub`, "failure: already have such entry"},
		{`/disk/btrfs/subvolume add fs=storage-pool-fs name=x parent=one`, "input does not match any value of parent"},
		{`/disk/btrfs/subvolume add fs=storage-pool-fs name=x read-only=perhaps`, "input does not match any value of read-only"},
		{`/disk/btrfs/subvolume remove [find where name="<FS_ROOT>"]`, "failure: file in use"},
		{`/system/resource get nonsense`, "input does not match any value of value-name"},
	})
}

func TestAnEmptyFindIsNoError(t *testing.T) {
	a := start(t, Options{})
	quiet(t, a, `/disk remove [find where slot=none]`, `/disk set [find slot=none] comment=x`, `/file remove [/file find where name="x"]`,
		`/disk/btrfs/subvolume remove [/disk/btrfs/subvolume find where name="x"]`)
}

func TestRemoveLeavesTheFile(t *testing.T) {
	a := start(t, Options{})
	volume(t, a, "one")
	quiet(t, a, `/disk remove [find where slot=one]`)
	say(t, a, `:put [:len [/file find where name="storage-pool/one/disk.img"]]`, "1\r\n")
	// The same size takes the file over, no size takes its size, another is refused.
	say(t, a, `/disk add type=file file-path=storage-pool/one/disk.img file-size=2G`, "failure: file already exists with another size\r\n")
	quiet(t, a, `/disk add type=file file-path=storage-pool/one/disk.img file-size=auto`)
	say(t, a, `:put [/disk get file-storage-pool-one-disk.img size]`, "1073741824\r\n")
}

func TestGrowIsSeenEverywhere(t *testing.T) {
	a := start(t, Options{})
	volume(t, a, "one")
	quiet(t, a, `/disk set one nvme-tcp-export=yes nvme-tcp-server-nqn=nqn.a nvme-tcp-server-allow-host-name="nqn.h1,nqn.h2"`, `/disk set one file-size=2147483648`)
	say(t, a, `:put [/disk get one file-size]`, "2147483648\r\n")
	say(t, a, `:put [/disk get storage-pool free]`, "105226698752\r\n")
	info, err := os.Stat(filepath.Join(a.opts.Dir, "pools/storage-pool/one/disk.img"))
	if err != nil || info.Size() != 2<<30 {
		t.Errorf("backing file %v, %v", info, err)
	}
	text, err := os.ReadFile(filepath.Join(a.opts.Dir, "exports/nqn.a"))
	want := `{"path":"` + a.opts.Dir + `/pools/storage-pool/one/disk.img","hosts":["nqn.h1","nqn.h2"],"size":2147483648,"slot":"one"}` + "\n"
	if err != nil || string(text) != want {
		t.Errorf("exports/nqn.a is %s, %v\nwant %s", text, err, want)
	}
	quiet(t, a, `/disk set one nvme-tcp-export=no`)
	if _, err := os.Stat(filepath.Join(a.opts.Dir, "exports/nqn.a")); !os.IsNotExist(err) {
		t.Errorf("still in exports: %v", err)
	}
}

func TestTargetKeysShowOnlyWhileExported(t *testing.T) {
	a := start(t, Options{})
	volume(t, a, "one")
	quiet(t, a, `/disk set one nvme-tcp-server-nqn=nqn.a nvme-tcp-server-allow-host-name=nqn.h`)
	say(t, a, `:put [:typeof [/disk get one nvme-tcp-server-nqn]]; :put [:len [/disk find where nvme-tcp-server-allow-host-name="nqn.h"]]`, "nothing\r\n0\r\n")
	quiet(t, a, `/disk set one nvme-tcp-export=yes`)
	say(t, a, `:put [/disk get one nvme-tcp-server-nqn]; :put [:len [/disk find where nvme-tcp-server-allow-host-name="nqn.h"]]`, "nqn.a\r\n1\r\n")
}

func TestSnapshotsAreCopiesThatCostNothing(t *testing.T) {
	a := start(t, Options{})
	quiet(t, a, `/disk/btrfs/subvolume add fs=storage-pool-fs name=csi-1`,
		`/disk add type=file slot=csi-1 file-path=storage-pool/csi-1/disk.img file-size=1G`)
	source := filepath.Join(a.opts.Dir, "pools/storage-pool/csi-1/disk.img")
	writeAt(t, source, "old", 512<<20)
	ro := "failure: read-only file system\r\n"
	free := a.Run(t.Context(), `:put [/disk get storage-pool free]`)
	quiet(t, a, `/disk/btrfs/subvolume add fs=storage-pool-fs name=snp-1 parent=csi-1 read-only=yes`,
		`/disk/btrfs/subvolume add fs=storage-pool-fs name=csi-2 parent=snp-1`)
	say(t, a, `/disk add type=file slot=snp-1 file-path=storage-pool/snp-1/disk.img file-size=1G`, ro)
	say(t, a, `/file add name=storage-pool/snp-1/d type=directory`, ro)
	say(t, a, `/file remove storage-pool/snp-1/disk.img`, ro)
	quiet(t, a,
		`/disk add type=file slot=csi-2 file-path=storage-pool/csi-2/disk.img file-size=1G`)
	writeAt(t, source, "new", 512<<20)
	clone := filepath.Join(a.opts.Dir, "pools/storage-pool/csi-2/disk.img")
	if got := readAt(t, clone, 3, 512<<20); got != "old" {
		t.Errorf("the clone reads %q", got)
	}
	say(t, a, `:put [/disk get storage-pool free]`, free)
	say(t, a, `/disk/btrfs/subvolume remove [/disk/btrfs/subvolume find where name=csi-2]`, "failure: file in use\r\n")
	quiet(t, a, `/disk/btrfs/subvolume set [find name=snp-1] read-only=no`, `/disk remove csi-2`,
		`/disk/btrfs/subvolume remove [/disk/btrfs/subvolume find where name=csi-2 or name=snp-1]`)
	say(t, a, `:put [:len [/disk/btrfs/subvolume find where fs="storage-pool-fs"]]`, "2\r\n")
}

func writeAt(t *testing.T, path, text string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(text), offset); err != nil {
		t.Fatal(err)
	}
}

func readAt(t *testing.T, path string, n int, offset int64) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, n)
	if _, err := f.ReadAt(buf, offset); err != nil {
		t.Fatal(err)
	}
	return string(buf)
}

func TestNestedSubvolumesAreNotPartOfASnapshot(t *testing.T) {
	a := start(t, Options{})
	quiet(t, a, `/disk/btrfs/subvolume add fs=storage-pool-fs name=outer`,
		`/file add name=storage-pool/outer/dir type=directory`,
		`/file add name=storage-pool/outer/dir/f contents=x`,
		`/disk/btrfs/subvolume add fs=storage-pool-fs name=outer/inner`,
		`/file add name=storage-pool/outer/inner/f contents=x`,
		`/disk/btrfs/subvolume add fs=storage-pool-fs name=copy parent=outer`)
	say(t, a, `:foreach f in=[/file find where name~"^storage-pool/copy"] do={:put [/file get $f name]}`,
		"storage-pool/copy\r\nstorage-pool/copy/dir\r\nstorage-pool/copy/dir/f\r\nstorage-pool/copy/inner\r\n")
	say(t, a, `:put [:len [/disk/btrfs/subvolume find where snapshot]]`, "1\r\n")
}

func TestIDsSelect(t *testing.T) {
	a := start(t, Options{})
	volume(t, a, "one")
	say(t, a, `:put [/disk find where .id=*2]; :put [/disk get *2 slot]; :put [:typeof [/disk get one .id]]`, "*2\r\none\r\nid\r\n")
	say(t, a, `:put [:len [/disk find where .id!=*2]]`, "1\r\n")
}

func TestTheDriversFlagsNameThisArray(t *testing.T) {
	a := start(t, Options{Pools: []Pool{{"first", "xfs", 1 << 30}, {"second", "xfs", 1 << 30}}, NVMeAddress: "192.0.2.1:4421", User: "me"})
	host, port, _ := strings.Cut(a.SSHAddr(), ":")
	want := "--rds-address " + host + " --rds-port " + port + " --rds-user me --rds-key-file " + a.opts.Dir + "/client_key --rds-host-key " +
		a.opts.Dir + "/host_key.pub --rds-pool first --nvme-address 192.0.2.1 --nvme-port 4421"
	if got := strings.Join(a.DriverFlags(), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestStrictRemoveRefusesAnExportedDisk(t *testing.T) {
	a := start(t, Options{StrictRemove: true})
	volume(t, a, "one")
	quiet(t, a, `/disk set one nvme-tcp-export=yes`)
	say(t, a, `/disk remove one`, "could not unmount, stop using it first\r\n")
	quiet(t, a, `/disk set one nvme-tcp-export=no`, `/disk remove one`)
}

func TestReleasesDiffer(t *testing.T) {
	add := `/disk add type=file slot=one file-path=storage-pool/one.img file-size=1M`
	tests := []struct{ version, line, want string }{
		{"7.20.8", add + ` nvme-tcp-server-nqn=nqn.a`, "bad parameter nvme-tcp-server-nqn (line 1 column 74)"},
		{"7.20.8", `/disk find where nvme-tcp-server-nqn=x`, "bad parameter nvme-tcp-server-nqn (line 1 column 18)"},
		{"7.20.8", `/disk print detail as-value proplist=nvme-tcp-server-nqn`, "input does not match any value of proplist"},
		{"7.21", `/disk find where nvme-tcp-server-nqn=x`, ""},
		{"7.16", add, "bad parameter file-path (line 1 column 30)"},
		{"7.17", `/disk/btrfs/filesystem find`, ""},
		{"7.17", `/disk/btrfs/subvolume find`, "bad command name subvolume (line 1 column 13)"},
		{"7.18", `/disk/btrfs/subvolume find`, ""},
		{"7.14", `/file add name=storage-pool/d type=directory`, "bad parameter type (line 1 column 31)"},
		{"7.12", `:onerror e in={} do={}`, "bad command name onerror (line 1 column 2)"},
		{"7.9", `/disk format-drive storage-pool`, "failure: the simulated array does not carry out /disk/format-drive"},
		{"7.24.4", `/disk format-drive storage-pool`, "bad command name format-drive (line 1 column 7)"},
		{"7.24.4", `/disk add nvme-tcp-name=x`, "bad parameter nvme-tcp-name (line 1 column 11)"},
		{"7.30", `/disk find where nvme-tcp-server-nqn=x`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.version+" "+tt.line, func(t *testing.T) {
			got := strings.TrimSuffix(start(t, Options{Version: tt.version}).Run(t.Context(), tt.line), "\r\n")
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBefore721TheSlotIsTheNQN(t *testing.T) {
	a := start(t, Options{Version: "7.20.8"})
	quiet(t, a, `/disk add type=file slot=disk1 file-path=storage-pool/one.img file-size=1M nvme-tcp-export=yes`)
	if !a.MayConnect("disk1", "nqn.any") {
		t.Error("not exported under its slot")
	}
}
