package plan

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// Places of the backend: offsets from its first port.
const (
	EchoOnce = iota // echoes one byte, and closes
	EchoKeep        // echoes, and stays
	Page            // answers every GET with Body, over HTTP/1.1
	TLSPage         // the same over TLS
	Stream          // sends the stream to whoever sends a byte
	Places
)

// At is where one of the places is.
func At(base netip.AddrPort, place int) netip.AddrPort {
	return netip.AddrPortFrom(base.Addr(), base.Port()+uint16(place))
}

// Body is the small page.
var Body = []byte(strings.Repeat("0123456789abcdef", 8))

// Head is what comes before it.
var Head = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " + strconv.Itoa(len(Body)) + "\r\n\r\n")

// StreamSize is after how many bytes the stream repeats itself.
const StreamSize = 64 << 20

const word = 8

// Fill writes the part of the stream that begins at an offset, both of which
// are multiples of eight bytes.
func Fill(piece []byte, offset int64) {
	for i := 0; i+word <= len(piece); i += word {
		binary.LittleEndian.PutUint64(piece[i:], at(offset+int64(i)))
	}
}

// Check reports whether a piece is the part of the stream that begins at an
// offset.
func Check(piece []byte, offset int64) bool {
	var whole [word]byte
	for i := range piece {
		place := offset + int64(i)
		if i == 0 || place%word == 0 {
			binary.LittleEndian.PutUint64(whole[:], at(place&^(word-1)))
		}
		if piece[i] != whole[place%word] {
			return false
		}
	}
	return true
}

// at is the word at an offset: no two places within the stream are alike.
func at(offset int64) uint64 {
	return (uint64(offset%StreamSize) + 1) * 0x9e3779b97f4a7c15
}
