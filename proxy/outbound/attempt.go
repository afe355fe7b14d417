package outbound

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// keepAlive finds out that a peer has gone without a word. The kernel's own
// interval and count do for the rest: each would be a system call more for
// every connection.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: -1, Count: -1}

// attempt connects to one address.
func (r *race) attempt(to netip.AddrPort) (*net.TCPConn, error) {
	a := &attempt{race: r, to: to}
	dialer := net.Dialer{ControlContext: a.begin, KeepAliveConfig: keepAlive}
	// By DialContext and not by DialTCP, which would bind the socket to a local
	// port of its own choice: no port could then be in use for two destinations
	// at a time.
	conn, err := dialer.DialContext(a, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("not a TCP connection")
	}
	return tcp, nil
}

// attempt is one address that is being tried, and the context that net is
// given for it. Net asks a context for its Done channel once a connection has
// to wait: so begin connects first, and only where the answer is not there yet
// does Done give a channel, and make one if need be. Where begin cannot tell,
// Done always does, and all that is lost is a microsecond.
type attempt struct {
	race   *race
	to     netip.AddrPort
	begun  bool            // by begin
	atOnce bool            // it is connected already
	ctx    context.Context // nil until it has to wait
}

// begin connects the socket, before net does.
func (a *attempt) begin(_ context.Context, _, _ string, raw syscall.RawConn) error {
	var err error
	var connected bool
	if control := raw.Control(func(fd uintptr) { connected, err = connectNow(int(fd), a.to) }); control != nil {
		return control
	}
	if err != nil {
		return os.NewSyscallError("connect", err)
	}
	a.begun, a.atOnce = true, connected
	return nil
}

// Deadline is the race's.
func (a *attempt) Deadline() (time.Time, bool) { return a.race.deadline, true }

// Done never ends before the attempt has begun, nor once it is connected.
func (a *attempt) Done() <-chan struct{} {
	if !a.begun || a.atOnce {
		return nil
	}
	if a.ctx == nil {
		a.ctx = a.race.waited()
	}
	return a.ctx.Done()
}

// Err is why the attempt has to end.
func (a *attempt) Err() error {
	if a.ctx == nil {
		return nil
	}
	return a.ctx.Err()
}

// Value is the race's.
func (a *attempt) Value(key any) any {
	if a.ctx == nil {
		return a.race.parent.Value(key)
	}
	return a.ctx.Value(key)
}
