package ingress

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// plainSocket reads and answers one packet at a time, as every system can. Its
// reader is one goroutine; reply, stop, close and dropped may be called by any.
type plainSocket struct {
	listener *UDPListener
	conn     *net.UDPConn
	drops    dropCounter
	family   int // 4 or 6 where the kernel tells which address was asked
	query    Query
	packet   [querySlot + 1]byte // a packet that fills it did not fit
	answer   [replyBytes]byte
	oob      [128]byte // control message
	tasks    [1]*task
}

// dropCounter tells how many packets the kernel dropped.
type dropCounter interface{ count() uint64 }

func newPlainSocket(l *UDPListener, conn *net.UDPConn, drops dropCounter) *plainSocket {
	s := &plainSocket{listener: l, conn: conn, drops: drops}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	switch {
	case !local.IsUnspecified():
	// Systems that cannot tell answer from the address that they think best.
	case local.Is4() && ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true) == nil:
		s.family = 4
	case local.Is6() && ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true) == nil:
		s.family = 6
	}
	return s
}

// read is udpSocket's.
func (s *plainSocket) read(shift *shift) {
	desk := shift.door.Desk()
	for {
		n, oob, _, peer, err := s.conn.ReadMsgUDPAddrPort(s.packet[:], s.oob[:])
		if err != nil {
			if s.listener.pause() {
				return
			}
			continue
		}
		control, unicast := s.source(s.oob[:oob])
		if n > querySlot || !unicast {
			s.listener.config.Shed(ShedMalformed, 1)
			continue
		}
		peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
		if client, wire, ok := s.listener.admit(s.packet[:n], peer); ok {
			s.query = Query{Wire: wire, Client: client, Transport: UDP}
			s.try(shift, desk, peer, control)
		}
	}
}

// try answers the query in hand, or makes a task of it.
func (s *plainSocket) try(shift *shift, desk Desk, peer netip.AddrPort, control []byte) {
	desk.Begin()
	defer desk.End()
	reply, done := desk.Try(&s.query, s.answer[:0])
	if !done {
		s.query.Arrived = time.Now()
		s.tasks[0] = s.listener.config.Workers.newTask(shift, s, &s.query, peer, control)
		s.listener.hand(s.tasks[:])
		return
	}
	if len(reply) > 0 {
		s.reply(reply, control, peer)
	}
}

// source turns the control message of a query into that of its reply: from the
// address that was asked. It is false for a query to a multicast address, which
// has a reply from every server.
func (s *plainSocket) source(control []byte) (source []byte, unicast bool) {
	switch s.family {
	case 4:
		var asked ipv4.ControlMessage
		if asked.Parse(control) != nil || asked.Dst == nil {
			return nil, true
		}
		return (&ipv4.ControlMessage{Src: asked.Dst}).Marshal(), !asked.Dst.IsMulticast()
	case 6:
		var asked ipv6.ControlMessage
		if asked.Parse(control) != nil || asked.Dst == nil {
			return nil, true
		}
		if asked.Dst.To4() != nil {
			return (&ipv4.ControlMessage{Src: asked.Dst}).Marshal(), !asked.Dst.IsMulticast()
		}
		from := &ipv6.ControlMessage{Src: asked.Dst}
		if asked.Dst.IsLinkLocalUnicast() { // those mean nothing without an interface
			from.IfIndex = asked.IfIndex
		}
		return from.Marshal(), !asked.Dst.IsMulticast()
	default:
		return nil, true
	}
}

// reply is udpSocket's.
func (s *plainSocket) reply(reply, control []byte, to netip.AddrPort) {
	if _, _, err := s.conn.WriteMsgUDPAddrPort(reply, control, to); err != nil {
		s.listener.unsent.Add(1)
	}
}

func (s *plainSocket) stop() { _ = s.conn.SetReadDeadline(longAgo) }

func (s *plainSocket) close() {
	s.drops.count() // the last time that the kernel can tell
	_ = s.conn.Close()
}

func (s *plainSocket) dropped() uint64 { return s.drops.count() }
