package ingress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxyheader"
)

// Defaults of UDPConfig.
const (
	DefaultBatch         = 64
	DefaultWaiting       = 2048
	DefaultReceiveBuffer = 4 << 20
)

// Sizes of a socket's memory, per packet. Those of a batch lie one after the
// other, and an odd number of cache lines keeps their first bytes out of each
// other's way in the processor's cache, which multiples of 4096 would not.
const (
	queryBytes = 4096    // no query needs more, padding included
	querySlot  = 65 * 64 // a query and a PROXY header's usual length
	replyBytes = 21 * 64 // 1232 bytes, and the door need not count to the last
)

// UDPConfig says how a UDP listener works. Workers is required; what else is
// zero has a default.
type UDPConfig struct {
	// Sockets share the address, each with a reader of its own (Linux only);
	// by default one for each core that the process may use.
	Sockets int
	// From gives the listener its sockets; what is nil in it opens them. Where
	// there are some already, their number counts, and not Sockets.
	From Sockets
	// Batch is how many packets a reader takes and answers at a time (Linux
	// only).
	Batch int
	// Workers answer what cannot be answered at once.
	Workers *Workers
	// Waiting bounds how many queries wait for a worker.
	Waiting int
	// ReceiveBuffer, in bytes, is asked of the kernel for each socket, and as
	// much for sending. Without privilege it grants no more than
	// net.core.rmem_max.
	ReceiveBuffer int
	// ProxyFrom are the networks of proxies: each packet from them must begin
	// with a PROXY protocol header, version 2. Not in IPv4-mapped form.
	ProxyFrom []netip.Prefix
	// Shed is told of what was not answered, and why. It must be quick and
	// safe for concurrent use.
	Shed func(reason string, n int)

	plain bool // read and write one packet at a time, as where there is no recvmmsg
}

func (c UDPConfig) withDefaults() UDPConfig {
	if c.Sockets <= 0 {
		c.Sockets = runtime.GOMAXPROCS(0)
	}
	if c.Batch <= 0 {
		c.Batch = DefaultBatch
	}
	if c.Waiting <= 0 {
		c.Waiting = DefaultWaiting
	}
	if c.ReceiveBuffer <= 0 {
		c.ReceiveBuffer = DefaultReceiveBuffer
	}
	if c.Shed == nil {
		c.Shed = func(string, int) {}
	}
	return c
}

// UDPListener answers queries that come by UDP to one address (RFC 1035
// §4.2.1). Make it with ListenUDP and call Serve once; who makes it closes it,
// and when Serve has returned it is closed. Safe for concurrent use.
type UDPListener struct {
	config  UDPConfig
	sockets []udpSocket
	local   netip.AddrPort
	queue   *queue
	unsent  atomic.Uint64
	stopped chan struct{}

	mu               sync.Mutex
	cancel           context.CancelFunc // of what Serve started; nil before
	stopping, closed bool
}

// udpSocket is one socket of a listener.
type udpSocket interface {
	// read answers what comes, until the listener stops.
	read(*shift)
	// reply sends what a worker made of a query.
	reply(reply, control []byte, to netip.AddrPort)
	// stop ends reading, close everything.
	stop()
	close()
	// dropped is how many packets the kernel dropped, for as long as the
	// socket is open and after.
	dropped() uint64
}

// ListenUDP binds an address such as "127.0.0.1:53", "[::]:53" or ":53". With
// port 0 the kernel chooses one. ctx bounds the looking up of a name only. It
// fails where the address is not ours or is taken, also by another process of
// the same user that shares its port.
func ListenUDP(ctx context.Context, address string, c UDPConfig) (*UDPListener, error) {
	if c.Workers == nil {
		return nil, errors.New("listen on UDP: no workers")
	}
	l := &UDPListener{config: c.withDefaults(), stopped: make(chan struct{})}
	l.queue = newQueue(l.config.Waiting)
	if err := l.bind(ctx, address); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen on UDP %q: %w", address, err)
	}
	return l, nil
}

// udpNetwork keeps "0.0.0.0" to IPv4: Go would open a socket for both families.
func udpNetwork(host string) string {
	if a, err := netip.ParseAddr(host); err == nil && a.Is4() {
		return "udp4"
	}
	return "udp"
}

// open binds one socket, or takes all that are there already. add owns them.
func (l *UDPListener) open(ctx context.Context, lc *net.ListenConfig, address string, add func(*net.UDPConn) error) (inherited bool, err error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false, fmt.Errorf("%w: use an address with a port, such as 127.0.0.1:53", err)
	}
	conns, inherited, err := l.config.From.listenUDP(ctx, lc, udpNetwork(host), address)
	if err != nil {
		return false, err
	}
	l.local = conns[0].LocalAddr().(*net.UDPAddr).AddrPort()
	for at, conn := range conns {
		if err := add(conn.(*net.UDPConn)); err != nil {
			for _, rest := range conns[at+1:] {
				_ = rest.Close()
			}
			return inherited, err
		}
	}
	return inherited, nil
}

// samePort is address with the port that was really bound.
func samePort(address string, bound netip.AddrPort) string {
	host, _, _ := net.SplitHostPort(address) // it was good enough to bind
	if !bound.Addr().IsUnspecified() {
		host = bound.Addr().String() // a name is not looked up twice
	}
	return net.JoinHostPort(host, strconv.Itoa(int(bound.Port())))
}

// Address is where the listener listens: the port that was bound, where 0 was
// asked.
func (l *UDPListener) Address() Address {
	return Address{Name: "dns udp", Addr: l.local.String()}
}

// Serve answers queries until Stop, Close or the end of ctx, the last two of
// which abandon what is under way. It returns when the last reply has gone and
// the sockets are closed. Call it once.
func (l *UDPListener) Serve(ctx context.Context, d Door) {
	unwatch := context.AfterFunc(ctx, l.Close)
	defer unwatch()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !l.begin(cancel) {
		return
	}
	s := &shift{ctx: ctx, door: d}
	var readers sync.WaitGroup
	for _, socket := range l.sockets {
		readers.Go(func() { socket.read(s) })
	}
	readers.Wait()
	if l.over() { // closed, and then readers may have left something waiting
		l.config.Workers.discard(l.queue)
	}
	s.underWay.Wait()
	l.Close()
}

// begin keeps what ends the work; false where the listener is closed already.
func (l *UDPListener) begin(cancel context.CancelFunc) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancel = cancel
	return !l.closed
}

func (l *UDPListener) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Stop ends reading. What the kernel holds for us is still read and, like the
// queries under way, answered.
func (l *UDPListener) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopLocked()
}

func (l *UDPListener) stopLocked() {
	if l.stopping {
		return
	}
	l.stopping = true
	close(l.stopped)
	for _, s := range l.sockets {
		s.stop()
	}
}

// Close ends everything at once: queries under way get no answer.
func (l *UDPListener) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	l.stopLocked()
	if l.cancel != nil {
		l.cancel()
	}
	for _, s := range l.sockets {
		s.close()
	}
	l.config.Workers.discard(l.queue)
}

// Dropped is how many packets the kernel has thrown away since the listener
// was bound, for the most part because its readers were behind; always 0 where
// the system does not tell.
func (l *UDPListener) Dropped() uint64 {
	var n uint64
	for _, s := range l.sockets {
		n += s.dropped()
	}
	return n
}

// Unsent is how many replies the kernel would not take: no route, a firewall,
// a full device.
func (l *UDPListener) Unsent() uint64 { return l.unsent.Load() }

// admit tells whom a packet is from, and what of it is the query; false where
// it is shed.
func (l *UDPListener) admit(packet []byte, peer netip.AddrPort) (client netip.AddrPort, wire []byte, ok bool) {
	if peer.Port() == 0 { // nowhere to send a reply to
		l.config.Shed(ShedMalformed, 1)
		return peer, nil, false
	}
	client, wire = peer, packet
	if len(l.config.ProxyFrom) > 0 && l.fromProxy(peer.Addr()) {
		named, n, err := proxyheader.Parse(packet)
		if err != nil {
			l.config.Shed(ShedProxyHeader, 1)
			return peer, nil, false
		}
		if named.IsValid() { // else the proxy asks for itself
			client = named
		}
		wire = packet[n:]
	}
	if len(wire) > queryBytes {
		l.config.Shed(ShedMalformed, 1)
		return peer, nil, false
	}
	return client, wire, true
}

func (l *UDPListener) fromProxy(a netip.Addr) bool {
	a = a.WithZone("") // no prefix contains an address with a zone
	for _, p := range l.config.ProxyFrom {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// hand gives what a reader could not answer to the workers.
func (l *UDPListener) hand(tasks []*task) {
	if n := l.config.Workers.hand(l.queue, tasks); n > 0 {
		l.config.Shed(ShedBusy, n)
	}
}

// longAgo, as a deadline, wakes a reader for good.
var longAgo = time.Unix(1, 0)

// errorPause keeps a socket that only fails from burning a core.
const errorPause = 5 * time.Millisecond

// pause waits a moment after a read error; true once reading is over.
func (l *UDPListener) pause() (over bool) {
	timer := time.NewTimer(errorPause)
	defer timer.Stop()
	select {
	case <-l.stopped:
		return true
	case <-timer.C:
		return false
	}
}
