//go:build !unix

package outbound

import "net"

// readHead reads one head from a parent's connection, and not a byte more.
func readHead(conn net.Conn) ([]byte, error) { return readHeadBytewise(conn) }
