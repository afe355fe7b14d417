//go:build !linux

package proxy

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

var errNotRedirected = errors.New("redirected connections need Linux")

func redirectedTo(*net.TCPConn) (netip.AddrPort, error) { return netip.AddrPort{}, errNotRedirected }

func acceptForeign(string, string, syscall.RawConn) error { return errNotRedirected }
