package proxy

import (
	"net"
	"net/netip"
	"testing"
)

// fakeEnds is a connection of which only the addresses are asked for.
type fakeEnds struct {
	net.Conn
	local, remote net.Addr
}

func (f fakeEnds) LocalAddr() net.Addr  { return f.local }
func (f fakeEnds) RemoteAddr() net.Addr { return f.remote }

func TestOwnDials(t *testing.T) {
	var o ownDials
	at := func(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1).To4(), Port: port} }
	server := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 7).To4(), Port: 443}
	comesFor := func(port int, to string) bool {
		return o.made(fakeEnds{remote: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1).To16(), Port: port}}, netip.MustParseAddrPort(to)) // at a socket for both families
	}
	comes := func(port int) bool { return comesFor(port, "198.51.100.7:443") }
	if comes(1) || o.made(fakeEnds{remote: &net.UnixAddr{}}, netip.AddrPort{}) {
		t.Error("known before anything was dialled")
	}
	o.add(fakeEnds{local: at(1), remote: server})
	if !comes(1) || comes(2) {
		t.Error("what was dialled is not known, or something else is")
	}
	if comesFor(1, "198.51.100.8:443") || comesFor(1, "198.51.100.7:80") {
		t.Error("the port of a connection of ours, given out again, is taken for it")
	}
	for port := range rememberedDials {
		o.add(fakeEnds{local: at(1000 + port), remote: server})
	}
	if comes(1) || !comes(1000) || !comes(1000+rememberedDials-1) {
		t.Error("it is not the latest that are known")
	}
}
