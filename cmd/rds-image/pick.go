package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// pick takes of Debian's packages what the driver needs: programs, their libraries, a few settings, the
// certificates of the authorities (for OTLP over TLS), and each package's licence. There is no shell.
func pick(debian tree, arch string) (tree, error) {
	p := picker{from: debian, to: newTree(), arch: arch}
	for _, name := range programs() {
		if err := p.program(name); err != nil {
			return nil, fmt.Errorf("program %s: %w", name, err)
		}
	}
	for _, name := range libraries() {
		if err := p.library(name); err != nil {
			return nil, err
		}
	}
	for _, name := range settings() {
		if err := p.take(name); err != nil {
			return nil, err
		}
	}
	p.licences()
	p.to.file("etc/ssl/certs/ca-certificates.crt", 0o644, p.authorities())
	p.to.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"))
	p.to.file("etc/group", 0o644, []byte("root:x:0:\nnonroot:x:65532:\n"))
	p.to["etc/mtab"] = node{target: "../proc/self/mounts"}
	for _, name := range []string{"dev", "proc", "run", "sys"} {
		p.to.directory(name, 0o755)
	}
	p.to.directory("tmp", 0o1777)
	return p.to, nil
}

type picker struct {
	from, to tree
	arch     string
}

// take copies a file, and the symbolic links that lead to it.
func (p picker) take(name string) error {
	at := merged(name)
	end, err := p.from.resolve(at)
	if err != nil {
		return err
	}
	p.to[end] = p.from[end]
	if at != end {
		p.to[at] = node{target: "/" + end}
	}
	return nil
}

func (p picker) program(name string) error {
	for _, dir := range []string{"usr/sbin/", "usr/bin/"} {
		if _, ok := p.from[dir+name]; !ok {
			continue
		}
		if err := p.take(dir + name); err != nil {
			return err
		}
		end, err := p.from.resolve(dir + name)
		if err != nil {
			return err
		}
		return p.needed(end)
	}
	return errors.New("it is in none of the packages")
}

// needed takes what the ELF file at name says it needs: libraries, and the loader.
func (p picker) needed(name string) error {
	file, err := elf.NewFile(bytes.NewReader(p.from[name].data))
	if err != nil {
		return fmt.Errorf("/%s: %w", name, err)
	}
	names, err := file.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("/%s: %w", name, err)
	}
	for _, library := range names {
		if err := p.library(library); err != nil {
			return fmt.Errorf("/%s needs %w", name, err)
		}
	}
	return p.loader(file)
}

func (p picker) loader(file *elf.File) error {
	for _, segment := range file.Progs {
		if segment.Type != elf.PT_INTERP {
			continue
		}
		text := make([]byte, segment.Filesz)
		if _, err := segment.ReadAt(text, 0); err != nil {
			return err
		}
		return p.take(strings.TrimRight(string(text), "\x00"))
	}
	return nil
}

// library takes a library, and what it needs itself.
func (p picker) library(name string) error {
	at := "usr/lib/" + triplet(p.arch) + "/" + name
	if _, taken := p.to[at]; taken {
		return nil
	}
	if err := p.take(at); err != nil {
		return err
	}
	end, err := p.from.resolve(at)
	if err != nil {
		return err
	}
	return p.needed(end)
}

// triplet is the directory of a processor's libraries.
func triplet(arch string) string {
	return map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[arch]
}

func (p picker) licences() {
	for name, entry := range p.from {
		licence, _ := path.Match("usr/share/doc/*/copyright", name)
		if licence || strings.HasPrefix(name, statusDir) {
			p.to[name] = entry
		}
	}
}

// authorities is the file that update-ca-certificates would make.
func (p picker) authorities() []byte {
	var all []byte
	for _, name := range slices.Sorted(maps.Keys(p.from)) {
		if strings.HasPrefix(name, "usr/share/ca-certificates/") && strings.HasSuffix(name, ".crt") {
			all = append(all, p.from[name].data...)
		}
	}
	return all
}
