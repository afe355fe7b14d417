package proxyheader

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
)

// Read reads a header of either version from the beginning of a stream, to its
// last byte and no further: what comes behind it is somebody else's. It is whom
// the header names as client; the zero AddrPort is a proxy that asks in its own
// name (LOCAL). A header that names no IP address is an error, UNKNOWN of version
// 1 too, and so is a beginning that is no header; part of the stream has been
// read then. It reads 1024 bytes at most, and sets no limit to the time.
func Read(r io.Reader) (netip.AddrPort, error) {
	var header [maxBytes]byte
	// The shortest header of either version has as many bytes.
	begin := header[:len("PROXY UNKNOWN\r\n")]
	if err := fill(r, begin); err != nil {
		return netip.AddrPort{}, err
	}
	if bytes.HasPrefix(begin, []byte(lineBegin)) {
		return readLine(r, header[:len(begin):maxLine])
	}
	if err := fill(r, header[len(begin):prefixBytes]); err != nil {
		return netip.AddrPort{}, err
	}
	n, err := headerBytes(header[:prefixBytes])
	if err != nil {
		return netip.AddrPort{}, err
	}
	if err := fill(r, header[prefixBytes:n]); err != nil {
		return netip.AddrPort{}, err
	}
	client, _, err := Parse(header[:n])
	return client, err
}

// fill reads as many bytes as there is room for.
func fill(r io.Reader, into []byte) error {
	if _, err := io.ReadFull(r, into); err != nil {
		return fmt.Errorf("read the PROXY header: %w", err)
	}
	return nil
}
