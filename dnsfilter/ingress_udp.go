package dnsfilter

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// udpIngress reads one UDP socket and answers each packet in a goroutine of
// its own, as many at a time as there are slots. A packet that finds none is
// dropped and counted: UDP clients ask again, and a queue would only make
// answers late.
type udpIngress struct {
	conn    *net.UDPConn
	slots   slots
	shed    func(reason string)
	family  int // 4 or 6 on a wildcard address, 0 otherwise
	stopped chan struct{}
	once    sync.Once
	pool    sync.Pool // of *udpBuffers
}

// receiveBuffer holds what arrives while the reader is busy: some thousand
// queries, where the default holds a few hundred.
const receiveBuffer = 1 << 20

type udpBuffers struct {
	query   [maxQueryBytes]byte
	reply   [udpPayload]byte
	control [128]byte
}

func newUDPIngress(conn *net.UDPConn, s slots, shed func(string)) (*udpIngress, error) {
	in := &udpIngress{conn: conn, slots: s, shed: shed, stopped: make(chan struct{})}
	in.pool.New = func() any { return new(udpBuffers) }
	_ = conn.SetReadBuffer(receiveBuffer) // as much of it as the kernel grants
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	if !local.IsUnspecified() {
		return in, nil
	}
	// On a wildcard address a reply must leave from the address that was
	// asked, or clients drop it; so the kernel has to tell which it was.
	if local.Is4() {
		in.family = 4
		return in, ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	}
	in.family = 6
	return in, ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
}

func (in *udpIngress) address() Address {
	return Address{Name: "dns udp", Addr: in.conn.LocalAddr().String()}
}

func (in *udpIngress) serve(ctx context.Context, respond responder) {
	var underWay sync.WaitGroup
	defer in.close()
	defer underWay.Wait()
	for {
		buffers := in.pool.Get().(*udpBuffers)
		n, oob, _, client, err := in.conn.ReadMsgUDPAddrPort(buffers.query[:], buffers.control[:])
		if err != nil {
			in.pool.Put(buffers)
			if in.pause() {
				return
			}
			continue
		}
		if client.Port() == 0 { // nowhere to send a reply to
			in.pool.Put(buffers)
			in.shed(shedMalformed)
			continue
		}
		if !in.slots.tryTake() {
			in.pool.Put(buffers)
			in.shed(shedBusy)
			continue
		}
		underWay.Go(func() {
			defer in.slots.give()
			defer in.pool.Put(buffers)
			p := packet{wire: buffers.query[:n], client: client, transport: transportUDP}
			if reply := respond(ctx, p, buffers.reply[:0]); reply != nil {
				// A client that is gone is not our error.
				_, _, _ = in.conn.WriteMsgUDPAddrPort(reply, in.source(buffers.control[:oob]), client)
			}
		})
	}
}

// pause waits a moment after a read error, so that a socket that keeps failing
// does not burn a core; true once reading is over.
func (in *udpIngress) pause() (over bool) {
	timer := time.NewTimer(5 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-in.stopped:
		return true
	case <-timer.C:
		return false
	}
}

// source turns the control message of a query into that of its reply: from the
// address that was asked.
func (in *udpIngress) source(control []byte) []byte {
	asked, index := in.destination(control)
	if !asked.IsValid() {
		return nil
	}
	if asked.Is4() {
		return (&ipv4.ControlMessage{Src: asked.AsSlice(), IfIndex: 0}).Marshal()
	}
	return (&ipv6.ControlMessage{Src: asked.AsSlice(), IfIndex: index}).Marshal()
}

func (in *udpIngress) destination(control []byte) (asked netip.Addr, index int) {
	var dst net.IP
	switch in.family {
	case 4:
		var message ipv4.ControlMessage
		if message.Parse(control) != nil {
			return netip.Addr{}, 0
		}
		dst = message.Dst
	case 6:
		var message ipv6.ControlMessage
		if message.Parse(control) != nil {
			return netip.Addr{}, 0
		}
		dst, index = message.Dst, message.IfIndex
	}
	asked, _ = netip.AddrFromSlice(dst)
	asked = asked.Unmap()
	if !asked.IsLinkLocalUnicast() {
		index = 0 // let the routing table choose
	}
	return asked, index
}

func (in *udpIngress) stop() {
	in.once.Do(func() { close(in.stopped) })
	_ = in.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader; writes go on
}

func (in *udpIngress) close() {
	in.once.Do(func() { close(in.stopped) })
	_ = in.conn.Close()
}
