package k8s

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	busyboxImage = "e2e.local/suite/busybox:1.37.0-2"
	suiteImages  = "e2e.local/suite/"
)

// picture is an image that is made of programs of this machine.
type picture struct {
	tags       []string
	entrypoint []string
	files      map[string]string // path in the image: file on this machine, or "-> target"
}

// pictures are the images of the cluster, beside the driver's: the sidecars under the names that the chart has, and what
// the upstream suite runs in its pods (nginx and glibc-dns-testing are there only for their shell).
func pictures(t *testing.T) []picture {
	t.Helper()
	sidecar := func(program, tag string) picture {
		return picture{[]string{tag}, []string{"/" + program}, map[string]string{program: built(program)}}
	}
	chart := sidecars(t)
	shell := shellFiles(t)
	agnhost := map[string]string{"agnhost": built("agnhost")}
	for name, source := range shell {
		agnhost[name] = source
	}
	suite := []string{busyboxImage, suiteImages + "nginx:1.27.0-2", suiteImages + "glibc-dns-testing:2.1.1"}
	return []picture{
		{[]string{pauseImage, "e2e.local/pause:3.10.2"}, []string{"/pause"}, map[string]string{"pause": built("pause")}},
		{suite, []string{}, shell},
		{[]string{suiteImages + "agnhost:2.66.1"}, []string{"/agnhost"}, agnhost},
		sidecar("csi-provisioner", chart["provisioner"]),
		sidecar("csi-attacher", chart["attacher"]),
		sidecar("csi-resizer", chart["resizer"]),
		sidecar("csi-node-driver-registrar", chart["registrar"]),
	}
}

// shellFiles are busybox, all its names, and what a shell script expects beside them.
func shellFiles(t *testing.T) map[string]string {
	t.Helper()
	busybox := debian("bin/busybox")
	files := map[string]string{
		"bin/busybox": busybox, "bin/bash": "-> busybox", "usr/bin/env": "-> ../../bin/busybox",
		"etc/passwd": write(t, "image/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
		"etc/group":  write(t, "image/group", "root:x:0:\nnogroup:x:65534:\n"),
	}
	for applet := range strings.FieldsSeq(run(t, "", busybox, "--list")) {
		if applet != "busybox" {
			files["bin/"+applet] = "-> busybox"
		}
	}
	return files
}

// importImages gives them all to containerd.
func importImages(t *testing.T) {
	t.Helper()
	archives := []string{under("driver.tar")}
	for _, p := range pictures(t) {
		archives = append(archives, p.archive(t))
	}
	for _, archive := range archives {
		run(t, "", debian("usr/bin/ctr"), "--address="+containerdSocket, "--namespace=k8s.io", "images", "import", archive)
	}
}

// archive writes it as docker save does.
func (p picture) archive(t *testing.T) string {
	t.Helper()
	layer := static.NewLayer(p.layer(t), types.DockerUncompressedLayer)
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file.Architecture, file.OS = "amd64", "linux"
	file.Config = v1.Config{Entrypoint: p.entrypoint, Env: []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, WorkingDir: "/"}
	if len(p.entrypoint) == 0 {
		file.Config.Cmd = []string{"sh"}
	}
	img, err = mutate.ConfigFile(img, file)
	if err != nil {
		t.Fatal(err)
	}
	images := map[name.Tag]v1.Image{}
	for _, text := range p.tags {
		tag, err := name.NewTag(text)
		if err != nil {
			t.Fatal(err)
		}
		images[tag] = img
	}
	archive := under("image", strings.NewReplacer("/", "_", ":", "_").Replace(p.tags[0])+".tar")
	if err := tarball.MultiWriteToFile(archive, images); err != nil {
		t.Fatal(err)
	}
	return archive
}

func (p picture) layer(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	put := func(header *tar.Header, content io.Reader) {
		err := writer.WriteHeader(header)
		if err == nil && content != nil {
			_, err = io.Copy(writer, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	directories := map[string]int64{"tmp/": 0o1777, "var/tmp/": 0o1777, "root/": 0o700, "mnt/": 0o755, "proc/": 0o755, "sys/": 0o755, "dev/": 0o755, "run/": 0o755}
	for name := range p.files {
		if dir := path.Dir(name); dir != "." {
			directories[dir+"/"] = 0o755
		}
	}
	for name, mode := range directories {
		put(&tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}, nil)
	}
	for name, source := range p.files {
		if target, link := strings.CutPrefix(source, "-> "); link {
			put(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}, nil)
			continue
		}
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		mode := int64(0o755)
		if strings.HasPrefix(name, "etc/") {
			mode = 0o644
		}
		put(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))}, bytes.NewReader(content))
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
