package dnsfilter

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/miekg/dns"
)

// exchange asks one upstream once: over UDP, and over TCP where that did not
// suffice. A response that it returns answers key's question without error.
func exchange(ctx context.Context, u *upstream, key lookupKey) (*dns.Msg, error) {
	query := newQuery(key)
	if u.tcpOnly {
		return exchangeTCP(ctx, u, key, query)
	}
	response, err := exchangeUDP(ctx, u, key, query)
	if errors.Is(err, errTruncated) || errors.Is(err, errSuspicious) {
		return exchangeTCP(ctx, u, key, newQuery(key))
	}
	return response, err
}

var (
	errTruncated  = errors.New("the answer does not fit UDP")
	errSuspicious = errors.New("too many answers to something else")
)

// maxStray is how many packets that answer something else one query reads past
// before it goes to TCP, where guessing is hopeless.
const maxStray = 64

// newQuery writes the query for key with an id that cannot be guessed. AD asks
// to be told of validation (RFC 6840 §5.7); nothing of the client's is passed
// on but DO and CD.
func newQuery(key lookupKey) []byte {
	msg := make([]byte, headerBytes, headerBytes+len(key.name)+4+optFixedBytes)
	_, _ = rand.Read(msg[:2]) // never fails
	flags := uint16(flagRD | flagAD)
	if key.cd {
		flags |= flagCD
	}
	binary.BigEndian.PutUint16(msg[2:], flags)
	msg[5], msg[11] = 1, 1
	msg = append(msg, key.name...)
	msg = binary.BigEndian.AppendUint16(msg, key.qtype)
	msg = binary.BigEndian.AppendUint16(msg, classIN)
	return appendOPT(msg, edns{do: key.do}, 0, extendedError{})
}

// exchangeUDP asks from a socket of its own: the kernel picks a fresh source
// port, and a connected socket takes packets from nobody else (RFC 5452 §9.2).
func exchangeUDP(ctx context.Context, u *upstream, key lookupKey, query []byte) (*dns.Msg, error) {
	conn, err := dial(ctx, "udp", u)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write(query); err != nil {
		return nil, fmt.Errorf("ask %s: %w", u.name, err)
	}
	buffer := make([]byte, maxQueryBytes) // more than the query offers to take
	for range maxStray {
		n, err := conn.Read(buffer)
		if err != nil {
			return nil, fmt.Errorf("await the answer of %s: %w", u.name, err)
		}
		if !isResponse(buffer[:n], query, key) {
			continue // RFC 5452 §9.1: not ours; the real one may still come
		}
		if binary.BigEndian.Uint16(buffer[2:])&flagTC != 0 {
			return nil, errTruncated
		}
		return unpack(buffer[:n])
	}
	return nil, errSuspicious
}

func exchangeTCP(ctx context.Context, u *upstream, key lookupKey, query []byte) (*dns.Msg, error) {
	conn, err := dial(ctx, "tcp", u)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	frame := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(query)), uint16(len(query)))
	if _, err := conn.Write(append(frame, query...)); err != nil {
		return nil, fmt.Errorf("ask %s: %w", u.name, err)
	}
	var prefix [2]byte
	if _, err := io.ReadFull(conn, prefix[:]); err != nil {
		return nil, cutOff(u, err)
	}
	response := make([]byte, binary.BigEndian.Uint16(prefix[:]))
	if _, err := io.ReadFull(conn, response); err != nil {
		return nil, cutOff(u, err)
	}
	if !isResponse(response, query, key) {
		return nil, upstreamError{kind: failureGarbled, text: "an upstream resolver answered another question"}
	}
	return unpack(response)
}

func cutOff(u *upstream, err error) error {
	if isTimeout(err) {
		return fmt.Errorf("await the answer of %s: %w", u.name, err)
	}
	return upstreamError{kind: failureGarbled, text: "an upstream resolver cut its answer off"}
}

func dial(ctx context.Context, network string, u *upstream) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, u.addr.String())
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", u.name, err)
	}
	// Reads end with the try, and at once when the door closes.
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("set the deadline of %s: %w", u.name, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return &dialled{Conn: conn, stop: stop}, nil
}

// dialled is a connection whose reads end with a context.
type dialled struct {
	net.Conn
	stop func() bool
}

func (d *dialled) Close() error {
	d.stop()
	return d.Conn.Close()
}

// isResponse reports whether a packet is the response to query: id, direction,
// opcode and question. A bare error header without a question, which old
// servers send when they do not understand, is one too; unpack refuses it.
func isResponse(packet, query []byte, key lookupKey) bool {
	if len(packet) < headerBytes || packet[0] != query[0] || packet[1] != query[1] {
		return false
	}
	flags := binary.BigEndian.Uint16(packet[2:])
	if flags&flagQR == 0 || flags&maskOpcode != 0 {
		return false
	}
	questions := binary.BigEndian.Uint16(packet[4:])
	if questions == 0 {
		code := int(flags & maskRcode)
		return code != rcodeNoError && code != rcodeNXDomain
	}
	name, off, ok := readName(packet, headerBytes)
	return ok && questions == 1 && len(packet) >= off+4 && sameName(name, key.name) &&
		binary.BigEndian.Uint16(packet[off:]) == key.qtype &&
		binary.BigEndian.Uint16(packet[off+2:]) == classIN
}

// unpack reads a response. Only NOERROR and NXDOMAIN are answers: every other
// code means that this upstream could not or would not say.
func unpack(packet []byte) (*dns.Msg, error) {
	var response dns.Msg
	if err := response.Unpack(packet); err != nil {
		return nil, upstreamError{kind: failureGarbled, text: "an upstream resolver sent a malformed answer"}
	}
	// The library reads as many records as there are, whatever the header says.
	if response.Truncated || len(response.Answer) != count(packet, 6) || len(response.Ns) != count(packet, 8) {
		return nil, upstreamError{kind: failureGarbled, text: "an upstream resolver sent half an answer"}
	}
	switch response.Rcode {
	case rcodeNoError, rcodeNXDomain:
		return &response, nil
	}
	code, known := dns.RcodeToString[response.Rcode]
	if !known {
		code = fmt.Sprintf("code %d", response.Rcode)
	}
	return nil, upstreamError{kind: failureRefused, text: "an upstream resolver answered " + code}
}

func count(packet []byte, at int) int { return int(binary.BigEndian.Uint16(packet[at:])) }
