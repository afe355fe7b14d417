package handover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// origin is where a socket came from.
type origin uint8

const (
	fromSystemd origin = iota
	fromPredecessor
	fromReserve // opened by Reserve
)

// inherited is a socket that is open and that no listener has yet: listener or
// packets.
type inherited struct {
	listener *net.TCPListener
	packets  *net.UDPConn
	bound    netip.AddrPort
	only6    bool // an IPv6 socket that IPv4 clients do not reach
	from     origin
	systemd  bool   // it came from systemd, to this process or an earlier one
	name     string // of systemd's descriptor, or of the listener that had it
	asked    string // the address as the listener that had it was told; "" from systemd
}

// newInherited takes a descriptor over, which is closed or owned by the result.
func newInherited(fd int) (*inherited, error) {
	closeOnExec(fd)
	file := os.NewFile(uintptr(fd), "inherited")
	if file == nil {
		return nil, errors.New("not a descriptor")
	}
	defer file.Close() // what package net makes of it is a duplicate
	kind, err := socketKind(fd)
	if err != nil {
		return nil, err
	}
	i := &inherited{only6: kind.only6}
	switch {
	case kind.stream && !kind.listening:
		return nil, errors.New("a connection, and not a listening socket")
	case kind.stream:
		i.listener, err = tcpListener(file)
	case kind.datagram:
		i.packets, err = udpSocket(file)
	default:
		return nil, errors.New("neither a stream nor a datagram socket")
	}
	if err != nil {
		return nil, err
	}
	i.bound = boundTo(i.address())
	return i, nil
}

func tcpListener(file *os.File) (*net.TCPListener, error) {
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(errors.New("a stream socket that is not TCP"), listener.Close())
	}
	return tcp, nil
}

func udpSocket(file *os.File) (*net.UDPConn, error) {
	packets, err := net.FilePacketConn(file)
	if err != nil {
		return nil, err
	}
	udp, ok := packets.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(errors.New("a datagram socket that is not UDP"), packets.Close())
	}
	return udp, nil
}

// boundTo is the address of a socket, that of IPv4 in its own form.
func boundTo(address net.Addr) netip.AddrPort {
	var bound netip.AddrPort
	switch a := address.(type) {
	case *net.TCPAddr:
		bound = a.AddrPort()
	case *net.UDPAddr:
		bound = a.AddrPort()
	}
	return netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())
}

func (i *inherited) network() string {
	if i.listener != nil {
		return "tcp"
	}
	return "udp"
}

func (i *inherited) address() net.Addr {
	if i.listener != nil {
		return i.listener.Addr()
	}
	return i.packets.LocalAddr()
}

func (i *inherited) socket() syscall.Conn {
	if i.listener != nil {
		return i.listener
	}
	return i.packets
}

func (i *inherited) close() {
	if i.listener != nil {
		_ = i.listener.Close()
		return
	}
	_ = i.packets.Close()
}

// control sets the options that config wants. Those that must be set before a
// socket is bound were set by whoever bound it.
func (i *inherited) control(config *net.ListenConfig) error {
	if config.Control == nil {
		return nil
	}
	raw, err := i.socket().SyscallConn()
	if err != nil {
		return err
	}
	return config.Control(i.network(), i.address().String(), raw)
}

// siblingOf reports whether two sockets share an address.
func (i *inherited) siblingOf(other *inherited) bool {
	return i.network() == other.network() && i.bound == other.bound && i.only6 == other.only6
}

// String says what it is, for people.
func (i *inherited) String() string {
	text := fmt.Sprintf("the TCP socket on %s", i.address())
	if i.listener == nil {
		text = fmt.Sprintf("the UDP socket on %s", i.address())
	}
	if i.name != "" {
		text += fmt.Sprintf(" (%q)", i.name)
	}
	return text
}
