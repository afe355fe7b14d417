package authority

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
)

// Alerts (RFC 8446 §6) of a client that does not like the certificate, and of
// one that gives up without a word on why.
func certificateAlerts() []tls.AlertError {
	return []tls.AlertError{
		42, // bad_certificate
		43, // unsupported_certificate
		45, // certificate_expired
		46, // certificate_unknown
		48, // unknown_ca
	}
}

func partingAlerts() []tls.AlertError {
	return []tls.AlertError{
		0,  // close_notify
		90, // user_canceled
	}
}

// judge says why a handshake has failed. A client that leaves as soon as it has
// seen the certificate did not like it, whether it says so or not.
func (v *visitor) judge(err error) result {
	switch {
	case isAlert(err, certificateAlerts()), v.complained():
		return resultUntrusted
	case v.shown && (isAlert(err, partingAlerts()) || isGone(err)):
		return resultUntrusted
	default:
		return resultFailed
	}
}

// complained reports whether the last thing that the client has sent is an
// alert about the certificate without encryption. OpenSSL sends it so in
// TLS 1.3, where it has to be encrypted: to crypto/tls it is nothing but noise.
func (v *visitor) complained() bool {
	if len(v.last) < alertRecord {
		return false
	}
	fatal := bytes.HasPrefix(v.last, []byte{21, 3}) && bytes.Equal(v.last[3:6], []byte{0, 2, 2})
	return fatal && slices.Contains(certificateAlerts(), tls.AlertError(v.last[6]))
}

// isAlert reports whether err is one of these alerts, sent by the client.
// crypto/tls has a type of its own for those that come over TCP, which it does
// not export; but its words are those of the exported one.
func isAlert(err error, alerts []tls.AlertError) bool {
	var remote *net.OpError
	if !errors.As(err, &remote) || remote.Op != "remote error" || remote.Err == nil {
		return false
	}
	text := remote.Err.Error()
	return slices.ContainsFunc(alerts, func(a tls.AlertError) bool { return a.Error() == text })
}

// isGone reports whether err means that the client has closed the connection.
func isGone(err error) bool {
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}
