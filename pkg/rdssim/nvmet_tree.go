package rdssim

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// attribute is one configfs file and what is written to it.
type attribute struct{ path, value string }

// write sets attributes in order. One that is not there is an older kernel's
// lack, and an error: configfs makes no files.
func write(attributes ...attribute) error {
	for _, a := range attributes {
		f, err := os.OpenFile(a.path, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(a.value)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (n *nvmet) makeDir(path string) error {
	if err := n.mkdir(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// removed forgives what is gone already.
func removed(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// reclaim takes down what a killed simulator left on a port. The dummy
// subsystem tells such a port from another program's, which is left alone.
func (n *nvmet) reclaim(port int) error {
	if _, err := os.Lstat(n.portDir(port, "subsystems", dummyNQN)); err != nil {
		return removed(err)
	}
	links, err := os.ReadDir(n.portDir(port, "subsystems"))
	if err != nil {
		return err
	}
	for _, link := range links {
		if link.Name() == dummyNQN {
			continue
		}
		e := export{NQN: link.Name(), Port: port, Hosts: n.listedHosts(link.Name())}
		if err := n.Withdraw(e); err != nil {
			return err
		}
	}
	// The dummy subsystem itself stays: another port may link it.
	return errors.Join(os.Remove(n.portDir(port, "subsystems", dummyNQN)), n.rmdir(n.portDir(port)))
}

// listedHosts are the hosts on a subsystem's list, none if it is not there.
func (n *nvmet) listedHosts(nqn string) []string {
	links, err := filepath.Glob(n.subsystem(nqn, "allowed_hosts", "*"))
	if err != nil {
		return nil
	}
	for i, link := range links {
		links[i] = filepath.Base(link)
	}
	return links
}
