package dnsfilter

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// tcpIngress accepts connections and answers the queries of each as they come,
// several at a time (RFC 7766 §6.2.1.1), framed by their length (RFC 1035
// §4.2.2).
type tcpIngress struct {
	listener net.Listener
	slots    slots
	limits   tcpLimits
	known    func(netip.Addr) bool // may the client ask at all?
	shed     func(reason string)

	mu        sync.Mutex
	conns     map[net.Conn]netip.Addr
	clients   map[netip.Addr]int
	strangers int // connections of clients that may not ask
	stopped   bool
}

type tcpLimits struct {
	conns int           // open at a time
	each  int           // of those, by one client
	idle  time.Duration // for one query to arrive whole, and for one reply to leave
}

// strangers is how many connections clients that may not ask hold together: a
// few, so that they can be told, and never those of everybody else.
func (l tcpLimits) strangers() int { return max(l.conns/16, 1) }

// pipelined is how many queries of one connection are under way at a time. The
// next is not read before one of them is answered.
const pipelined = 16

func newTCPIngress(l net.Listener, s slots, limits tcpLimits, known func(netip.Addr) bool, shed func(string)) *tcpIngress {
	return &tcpIngress{
		listener: l, slots: s, limits: limits, known: known, shed: shed,
		conns:   make(map[net.Conn]netip.Addr),
		clients: make(map[netip.Addr]int),
	}
}

func (in *tcpIngress) address() Address {
	return Address{Name: "dns tcp", Addr: in.listener.Addr().String()}
}

func (in *tcpIngress) serve(ctx context.Context, respond responder) {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := in.listener.Accept()
		if err != nil {
			if in.isStopped() {
				return
			}
			time.Sleep(5 * time.Millisecond) // out of descriptors: let some close
			continue
		}
		client := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		if !in.admit(conn, plainAddr(client.Addr())) {
			_ = conn.Close()
			continue
		}
		open.Go(func() {
			defer in.release(conn)
			in.serveConn(ctx, conn, client, respond)
		})
	}
}

// serveConn reads queries until the client is done, idle or wrong, and returns
// when the last of them is answered.
func (in *tcpIngress) serveConn(ctx context.Context, conn net.Conn, client netip.AddrPort, respond responder) {
	var underWay sync.WaitGroup
	defer underWay.Wait()
	var writing sync.Mutex
	places := make(slots, pipelined)
	for {
		query, ok := in.readQuery(conn)
		if !ok || !places.take(ctx) {
			return
		}
		if !in.slots.take(ctx) {
			return
		}
		underWay.Go(func() {
			defer in.slots.give()
			defer places.give()
			// Two bytes in front are kept for the length, so that a reply
			// goes out in one write.
			frame := make([]byte, 2, 2+udpPayload)
			reply := respond(ctx, packet{wire: query, client: client, transport: transportTCP}, frame[2:])
			if reply == nil {
				return
			}
			frame = append(binary.BigEndian.AppendUint16(frame[:0], uint16(len(reply))), reply...)
			writing.Lock()
			defer writing.Unlock()
			_ = conn.SetWriteDeadline(time.Now().Add(in.limits.idle))
			if _, err := conn.Write(frame); err != nil {
				_ = conn.Close() // half a frame makes the rest unreadable
			}
		})
		if !in.known(plainAddr(client.Addr())) {
			return // told once; strangers hold no connection
		}
	}
}

// readQuery reads one framed query. Anything longer than a question can be ends
// the connection unread, so that a length prefix buys nobody memory.
func (in *tcpIngress) readQuery(conn net.Conn) (query []byte, ok bool) {
	if !in.arm(conn) {
		return nil, false
	}
	var prefix [2]byte
	if _, err := io.ReadFull(conn, prefix[:]); err != nil {
		return nil, false
	}
	length := int(binary.BigEndian.Uint16(prefix[:]))
	if length < headerBytes || length > maxQueryBytes {
		in.shed(shedMalformed)
		return nil, false
	}
	query = make([]byte, length)
	_, err := io.ReadFull(conn, query)
	return query, err == nil
}

// arm gives the next query its time, unless the ingress has stopped reading.
// The lock orders it with stop, whose deadline must stay the last one set.
func (in *tcpIngress) arm(conn net.Conn) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return !in.stopped && conn.SetReadDeadline(time.Now().Add(in.limits.idle)) == nil
}

func (in *tcpIngress) admit(conn net.Conn, client netip.Addr) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.stopped:
		return false
	case len(in.conns) >= in.limits.conns:
		in.shed(shedConnections)
		return false
	case !in.known(client) && in.strangers >= in.limits.strangers():
		in.shed(shedConnections)
		return false
	case in.clients[client] >= in.limits.each:
		in.shed(shedClientConnections)
		return false
	}
	in.conns[conn] = client
	in.clients[client]++
	if !in.known(client) {
		in.strangers++
	}
	return true
}

func (in *tcpIngress) release(conn net.Conn) {
	_ = conn.Close()
	in.mu.Lock()
	defer in.mu.Unlock()
	client := in.conns[conn]
	delete(in.conns, conn)
	if !in.known(client) {
		in.strangers--
	}
	if in.clients[client]--; in.clients[client] <= 0 {
		delete(in.clients, client)
	}
}

func (in *tcpIngress) isStopped() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.stopped
}

func (in *tcpIngress) stop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.stopped = true
	_ = in.listener.Close()
	for conn := range in.conns {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (in *tcpIngress) close() {
	in.stop()
	in.mu.Lock()
	defer in.mu.Unlock()
	for conn := range in.conns {
		_ = conn.Close()
	}
}
