package host

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// kernelGroup is the multicast group the kernel itself sends to; udev's is 2 (facts/nvme.md §1.6).
const kernelGroup = 1

// ueventBytes is more than the kernel's UEVENT_BUFFER_SIZE (2 KiB) and its header.
const ueventBytes = 8 << 10

// Uevent is a message of the kernel about a device.
type Uevent struct {
	Action  string            // add, remove, change …
	DevPath string            // below /sys
	Env     map[string]string // SUBSYSTEM, DEVNAME, MAJOR …
}

// ParseUevent reads one datagram: "action@devpath", then NUL-terminated KEY=value pairs. It is
// false for what is not the kernel's, such as udev's own format.
func ParseUevent(datagram []byte) (Uevent, bool) {
	fields := strings.Split(strings.TrimSuffix(string(datagram), "\x00"), "\x00")
	action, path, ok := strings.Cut(fields[0], "@")
	if !ok || action == "" || !strings.HasPrefix(path, "/") {
		return Uevent{}, false
	}
	env := make(map[string]string, len(fields)-1)
	for _, field := range fields[1:] {
		if key, value, ok := strings.Cut(field, "="); ok {
			env[key] = value
		}
	}
	return Uevent{Action: action, DevPath: path, Env: env}, true
}

// Uevents turns the kernel's messages into wake-ups. They say only that it is worth looking
// again: what is true is read from sysfs, so a lost or forged message does no harm.
type Uevents struct {
	socket *os.File
	wake   chan struct{}
	reader sync.WaitGroup
}

// WatchUevents subscribes to the messages for which match is true.
func WatchUevents(match func(Uevent) bool) (*Uevents, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("open a uevent socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup}); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to uevents: %w", err), unix.Close(fd))
	}
	u := &Uevents{socket: os.NewFile(uintptr(fd), "uevents"), wake: make(chan struct{}, 1)}
	u.reader.Go(func() { u.read(match) })
	return u, nil
}

// Wake receives after one or more messages that match.
func (u *Uevents) Wake() <-chan struct{} { return u.wake }

// Close ends the subscription and waits for its reader.
func (u *Uevents) Close() error {
	err := u.socket.Close()
	u.reader.Wait()
	return err
}

func (u *Uevents) read(match func(Uevent) bool) {
	buf := make([]byte, ueventBytes)
	for {
		n, err := u.socket.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS): // messages were lost: any of them may have matched
			u.ring()
		case err != nil:
			return
		default:
			if event, ok := ParseUevent(buf[:n]); ok && match(event) {
				u.ring()
			}
		}
	}
}

func (u *Uevents) ring() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}
