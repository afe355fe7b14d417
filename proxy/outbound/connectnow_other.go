//go:build !linux

package outbound

import "net/netip"

// connectNow leaves connecting to net.
func connectNow(int, netip.AddrPort) (bool, error) { return false, nil }
