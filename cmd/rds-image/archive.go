package main

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	driverPath = "usr/bin/rds-csi-plugin"

	// nonroot is who the controller runs as. The node's container says runAsUser: 0.
	nonroot = "65532:65532"
)

// buildDriver compiles the driver as a static binary. The Dockerfile calls this program, too.
func (o *options) buildDriver(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp("", "rds-image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "rds-csi-plugin")
	_, err = command(ctx, o.source, "env", "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+o.arch,
		"go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+o.version, "-o", binary, "./cmd/rds-csi-plugin")
	if err != nil {
		return nil, err
	}
	return os.ReadFile(binary)
}

// labels are those of the OCI image specification. The Dockerfile has the same.
func (o *options) labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":         "rds-csi-driver",
		"org.opencontainers.image.description":   "CSI driver for NVMe/TCP volumes on MikroTik storage servers",
		"org.opencontainers.image.source":        "https://git.srvlab.io/whiskey/rds-csi-driver",
		"org.opencontainers.image.documentation": "https://git.srvlab.io/whiskey/rds-csi-driver",
		"org.opencontainers.image.licenses":      "Apache-2.0",
		"org.opencontainers.image.version":       o.version,
		"org.opencontainers.image.revision":      o.revision,
		"org.opencontainers.image.created":       o.created,
	}
}

func (o *options) image(root tree) (v1.Image, error) {
	content, err := root.layer()
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	created, err := time.Parse(time.RFC3339, o.created)
	if err != nil {
		return nil, err
	}
	history := v1.History{Created: v1.Time{Time: created}, CreatedBy: "rds-image"}
	img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{Layer: layer, History: history, MediaType: types.OCILayer})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS, config.Created = o.arch, "linux", v1.Time{Time: created}
	config.Config = v1.Config{
		Entrypoint: []string{"/" + driverPath}, User: nonroot, WorkingDir: "/", Labels: o.labels(),
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
	}
	img, err = mutate.ConfigFile(img, config)
	return mutate.ConfigMediaType(img, types.OCIConfigJSON), err
}

// writeArchive makes an OCI image layout and puts it into one file.
func (o *options) writeArchive(root tree) (digest string, err error) {
	img, err := o.image(root)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "rds-image-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	oci, err := layout.Write(dir, empty.Index)
	if err != nil {
		return "", err
	}
	// containerd reads the first, skopeo and podman the second.
	names := map[string]string{"io.containerd.image.name": o.tag, "org.opencontainers.image.ref.name": o.tag}
	platform := v1.Platform{OS: "linux", Architecture: o.arch}
	if err := oci.AppendImage(img, layout.WithAnnotations(names), layout.WithPlatform(platform)); err != nil {
		return "", err
	}
	if err := pack(dir, o.archive); err != nil {
		return "", err
	}
	hash, err := img.Digest()
	return hash.String(), err
}

// pack writes a directory's files into a tar archive, which appears when it is whole.
func pack(dir, to string) (err error) {
	out, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(out.Name())
		}
	}()
	writer := tar.NewWriter(out)
	if err := addFiles(writer, os.DirFS(dir)); err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}

func addFiles(writer *tar.Writer, from fs.FS) error {
	return fs.WalkDir(from, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		if err := writer.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
		_, err = writer.Write(data)
		return err
	})
}
