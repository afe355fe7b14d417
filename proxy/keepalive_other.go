//go:build !linux

package proxy

import "net"

func inheritKeepAlive(*net.TCPListener) error { return nil }

// keepAlive is what net is to do about the probes of idle connections: as it
// always does.
const keepAlive = 0
