package authority

import (
	"crypto/tls"
	"net"
)

// visitor is the connection of a client that wants another server and gets a
// page. It gives back the bytes that were read from it before, and follows how
// far the handshake has come. It belongs to one goroutine.
type visitor struct {
	net.Conn
	hello []byte           // what was read before, and not yet again
	leaf  *tls.Certificate // what the client is shown
	asked bool             // the handshake has come to the certificate
	shown bool             // and something went out behind that
	last  []byte           // of what the client has sent since, as much as an alert takes
}

// alertRecord is the length of an alert that is not encrypted (RFC 8446 §5.1, §6).
const alertRecord = 7

// Read gives back what was read before, and then reads as the connection does.
func (v *visitor) Read(p []byte) (int, error) {
	if len(v.hello) == 0 {
		n, err := v.Conn.Read(p)
		if v.shown {
			v.last = append(v.last, p[:n]...)
			v.last = v.last[max(0, len(v.last)-alertRecord):]
		}
		return n, err
	}
	n := copy(p, v.hello)
	v.hello = v.hello[n:]
	return n, nil
}

// Write writes as the connection does.
func (v *visitor) Write(p []byte) (int, error) {
	if v.asked {
		v.shown = true
	}
	return v.Conn.Write(p)
}

// present is the certificate, when the handshake has come to it.
func (v *visitor) present() *tls.Certificate {
	v.asked = true
	return v.leaf
}
