package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/godbus/dbus/v5"
	"go.uber.org/zap"
)

// What logind says of a shutdown, a reboot included: org.freedesktop.login1(5).
const (
	logindName = "org.freedesktop.login1"
	logindPath = dbus.ObjectPath("/org/freedesktop/login1")
	manager    = logindName + ".Manager"
	prepare    = "PrepareForShutdown"   // the signal
	preparing  = "PreparingForShutdown" // the property
)

const (
	// systemBus is where systemd has it; the D-Bus specification ("Well-known Message Bus
	// Instances") has the same place by another name, /var/run.
	systemBus   = "unix:path=/run/dbus/system_bus_socket"
	busTimeout  = 10 * time.Second
	firstRedial = 250 * time.Millisecond
	lastRedial  = time.Minute
)

// Logind tells when the machine is about to shut down.
type Logind struct {
	address string
	log     *zap.Logger
}

// NewLogind listens to logind on the bus at that D-Bus address; "" is the system bus.
// Nothing happens before Watch.
func NewLogind(address string, log *zap.Logger) *Logind {
	if address == "" {
		address = systemBus
	}
	return &Logind{address: address, log: log.With(zap.String("bus", address))}
}

// Watch sends true when logind prepares to shut the machine down, and false when it does not any
// more, until ctx ends. What is so already is sent at the start and after each loss of the bus.
// A bus that is away is no error: it is said once, and tried again ever less often.
func (l *Logind) Watch(ctx context.Context, told chan<- bool) {
	wait := firstRedial
	missing := false
	for {
		began := time.Now()
		subscribed, err := l.follow(ctx, told)
		if ctx.Err() != nil {
			return
		}
		if subscribed || !missing {
			l.logAway(err)
			missing = true
		}
		if time.Since(began) > lastRedial {
			wait = firstRedial
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			wait = min(2*wait, lastRedial)
		}
	}
}

func (l *Logind) logAway(err error) {
	text := "the system bus cannot be watched: until it can, this node's shutdown is not noticed, and may hang on volumes whose array is away"
	if errors.Is(err, fs.ErrNotExist) {
		text = "the system bus is not mounted: this node's shutdown is not noticed, and may hang on volumes whose array is away; mount its socket into this container at the same path"
	}
	l.log.Warn(text, zap.Error(err))
}

// follow passes on what logind says until the bus goes away. subscribed tells whether it got so far
// as to listen.
func (l *Logind) follow(ctx context.Context, told chan<- bool) (subscribed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, signals, err := l.subscribe(ctx, cancel)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }() // nothing is under way
	l.log.Info("this node's shutdown is watched for")
	if now, err := ask(ctx, conn); err != nil {
		l.log.Warn("logind does not say whether it shuts this node down; what it announces from now on is noticed", zap.Error(err))
	} else {
		tell(ctx, told, now)
	}
	for signal := range signals { // closed with the connection
		if now, ok := l.announced(ctx, conn, signal); ok {
			tell(ctx, told, now)
		}
	}
	return true, fmt.Errorf("the connection to %s has ended", l.address)
}

func tell(ctx context.Context, told chan<- bool, now bool) {
	select {
	case told <- now:
	case <-ctx.Done():
	}
}

// subscribe connects, within busTimeout, and has the bus pass on the announcements of whoever owns
// logind's name. The connection ends with ctx, which cancel ends.
func (l *Logind) subscribe(ctx context.Context, cancel context.CancelFunc) (*dbus.Conn, <-chan *dbus.Signal, error) {
	late := time.AfterFunc(busTimeout, cancel)
	defer late.Stop()
	conn, err := dbus.Connect(l.address, dbus.WithContext(ctx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return nil, nil, fmt.Errorf("connect to %s: %w", l.address, err)
	}
	signals := make(chan *dbus.Signal)
	conn.Signal(signals)
	err = conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(logindName), dbus.WithMatchObjectPath(logindPath),
		dbus.WithMatchInterface(manager), dbus.WithMatchMember(prepare))
	if err == nil && !late.Stop() {
		err = context.DeadlineExceeded
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("subscribe to %s: %w", logindName, err), conn.Close())
	}
	return conn, signals, nil
}

// ask asks logind, if it runs: a question must not make the bus start it.
func ask(ctx context.Context, conn *dbus.Conn) (now bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	var value dbus.Variant
	call := conn.Object(logindName, logindPath).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart, manager, preparing)
	if err := call.Store(&value); err != nil {
		return false, fmt.Errorf("get %s.%s: %w", manager, preparing, err)
	}
	if err := value.Store(&now); err != nil {
		return false, fmt.Errorf("get %s.%s: %w", manager, preparing, err)
	}
	return now, nil
}

// announced is what a signal says, if logind sent it. The match rule alone does not prove that:
// a bus delivers a signal that is addressed to us whatever our rules are, and the system bus
// "normally allows sending any signal" (dbus-daemon(1)). Only the sender is beyond forging.
func (l *Logind) announced(ctx context.Context, conn *dbus.Conn, s *dbus.Signal) (now, ok bool) {
	if s.Name != manager+"."+prepare || s.Path != logindPath {
		return false, false
	}
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	var owner string
	err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, logindName).Store(&owner)
	if err == nil && owner == s.Sender {
		err = dbus.Store(s.Body, &now)
		ok = err == nil
	}
	if !ok {
		l.log.Debug("an announcement of a shutdown that is not logind's is ignored",
			zap.String("sender", s.Sender), zap.String("logind", owner), zap.Error(err))
	}
	return now, ok
}
