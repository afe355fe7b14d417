package ingress

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// Error codes of DNS over QUIC (RFC 9250 §8.4).
const (
	doqNoError       = 0x0
	doqProtocolError = 0x2
	doqCancelled     = 0x3
	doqExcessiveLoad = 0x4
	doqUnspecified   = 0x5
)

// doq is a listener for DNS over QUIC (RFC 9250): one query a stream.
type doq struct {
	*quicSocket

	door      Door
	bursts    *bursts
	exchanges *exchanges
}

// listenDoQ binds address.
func listenDoQ(ctx context.Context, address string, s *shared, config *tls.Config) (*doq, error) {
	socket, err := listenQUIC(ctx, address, s, QUIC, config, -1)
	if err != nil {
		return nil, err
	}
	return &doq{quicSocket: socket, exchanges: newExchanges()}, nil
}

// Serve answers the queries of every connection, and returns after Stop when
// the last reply has gone out, or when ctx ends.
func (in *doq) Serve(ctx context.Context, door Door) {
	in.serving.Store(true)
	defer in.free()
	defer context.AfterFunc(ctx, in.Stop)()
	in.door, in.bursts = door, newBursts(door)
	var open sync.WaitGroup
	defer open.Wait()
	listening, stop := context.WithCancel(ctx)
	defer stop() // connections have nothing without the listener's socket
	for {
		var reading context.Context
		conn, m, err := in.accept(doqExcessiveLoad, stranger, func() (interrupt func()) {
			reading, interrupt = context.WithCancel(listening)
			return interrupt
		})
		if err != nil {
			return
		}
		open.Go(func() {
			defer in.crowd.leave(m)
			defer m.interrupt()
			// Ends what is under way, too.
			defer context.AfterFunc(ctx, func() { _ = conn.CloseWithError(doqNoError, "") })()
			visit := &doqVisit{in: in, conn: conn, member: m, peer: peerOf(conn.ConnectionState().TLS)}
			visit.serve(reading)
		})
	}
}

// doqVisit is one connection.
type doqVisit struct {
	in       *doq
	conn     *quic.Conn
	member   *member
	peer     *Peer
	underWay sync.WaitGroup
	replied  atomic.Int64 // when the last reply went out, by the crowd's clock
}

// serve answers queries until reading ends or the client is gone, and closes
// the connection.
func (v *doqVisit) serve(reading context.Context) {
	for {
		stream, err := v.conn.AcceptStream(reading)
		if err != nil {
			break
		}
		v.underWay.Go(func() { v.answer(reading, stream) })
		if v.member.is(stranger) {
			break // told once; strangers hold no connection
		}
	}
	v.underWay.Wait()
	v.linger()
	_ = v.conn.CloseWithError(doqNoError, "")
}

// linger gives a reply that has just gone out the time to arrive.
func (v *doqVisit) linger() {
	replied := v.replied.Load()
	if replied == 0 {
		return
	}
	rest := lastWords - time.Duration(v.in.crowd.now()-replied)
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-v.conn.Context().Done():
	case <-timer.C:
	}
}

// answer answers the query of a stream.
func (v *doqVisit) answer(reading context.Context, stream *quic.Stream) {
	if !v.member.begin() {
		return // the connection has been sent away
	}
	defer func() { v.member.end(v.in.crowd.now()) }()
	if !v.in.reading.tryTake() {
		v.in.shed(ShedBusy, 1)
		stream.CancelRead(doqExcessiveLoad)
		stream.CancelWrite(doqExcessiveLoad)
		return
	}
	x := v.in.exchanges.get()
	defer v.in.exchanges.put(x)
	ready := context.AfterFunc(reading, func() { _ = stream.SetReadDeadline(longAgo) })
	err := v.read(stream, x)
	ready()
	v.in.reading.give()
	if err != nil {
		v.refuse(stream, err)
		return
	}
	x.query = Query{
		Wire: x.wire, Client: peerAddress(v.conn.RemoteAddr()), Transport: QUIC, Peer: v.peer, Arrived: time.Now(),
	}
	reply, code := v.reply(stream.Context(), x)
	frame, ok := framed(x.frame, reply)
	if !ok {
		stream.CancelWrite(code)
		return
	}
	x.frame = frame
	_ = stream.SetWriteDeadline(time.Now().Add(v.in.idle))
	if _, err := stream.Write(frame); err != nil {
		stream.CancelWrite(doqUnspecified)
		return
	}
	_ = stream.Close()
	v.replied.Store(v.in.crowd.now())
}

// reply is the reply, or else the code that says why there is none.
func (v *doqVisit) reply(ctx context.Context, x *exchange) ([]byte, quic.StreamErrorCode) {
	b := v.in.bursts.get()
	b.desk.Begin()
	reply, done := b.desk.Try(&x.query, x.frame[lengthBytes:])
	b.desk.End()
	v.in.bursts.put(b)
	if done {
		return reply, doqUnspecified
	}
	if !v.in.slots.tryTake() {
		v.in.shed(ShedBusy, 1)
		return nil, doqExcessiveLoad
	}
	defer v.in.slots.give()
	return v.in.door.Respond(ctx, &x.query, x.frame[lengthBytes:]), doqUnspecified
}

// doqError is why a query cannot be answered.
type doqError struct {
	code  uint64
	fatal bool // it ends the connection (RFC 9250 §4.3.3)
	text  string
}

// Error is what was wrong.
func (e *doqError) Error() string { return e.text }

var (
	errDoQLength    = &doqError{doqProtocolError, true, "a message without a header"}
	errDoQLong      = &doqError{doqExcessiveLoad, false, "a query of impossible length"}
	errDoQShort     = &doqError{doqProtocolError, true, "the stream ends before the message does"}
	errDoQMore      = &doqError{doqProtocolError, true, "more than one message on a stream"}
	errDoQID        = &doqError{doqProtocolError, true, "a message id that is not zero"}
	errDoQResponse  = &doqError{doqProtocolError, true, "a response from a client"}
	errDoQKeepalive = &doqError{doqProtocolError, true, "edns-tcp-keepalive"}
)

// read reads the one query of a stream, to the end of the stream (RFC 9250
// §4.2).
func (v *doqVisit) read(stream *quic.Stream, x *exchange) error {
	_ = stream.SetReadDeadline(time.Now().Add(min(v.in.idle, streamPatience)))
	var prefix [lengthBytes]byte
	if err := readWhole(stream, prefix[:]); err != nil {
		return err
	}
	length := int(binary.BigEndian.Uint16(prefix[:]))
	switch {
	case length < dnswire.HeaderBytes:
		return errDoQLength
	case length > dnswire.MaxQueryBytes:
		return errDoQLong
	}
	wire := x.room(length)
	if err := readWhole(stream, wire); err != nil {
		return err
	}
	switch _, err := io.ReadFull(stream, prefix[:1]); {
	case err == nil:
		return errDoQMore
	case !errors.Is(err, io.EOF):
		return err
	case wire[0]|wire[1] != 0:
		return errDoQID
	case wire[2]&(dnswire.FlagQR>>8) != 0:
		return errDoQResponse
	case hasKeepalive(wire):
		return errDoQKeepalive
	}
	return nil
}

func readWhole(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errDoQShort
	}
	return err
}

// hasKeepalive reports whether a query has the option that only TCP has a use
// for (RFC 9250 §5.5.2).
func hasKeepalive(wire []byte) bool {
	var q dnswire.Question
	_ = q.Read(wire) // what is wrong with it, the door says
	return q.EDNS.Keepalive
}

// refuse ends a stream, or the connection, for what has been read of it.
func (v *doqVisit) refuse(stream *quic.Stream, err error) {
	var wrong *doqError
	switch {
	case !errors.As(err, &wrong):
		// The client took the query back, took too long, or is gone.
		stream.CancelRead(doqCancelled)
		stream.CancelWrite(doqCancelled)
	case wrong.fatal:
		v.in.shed(ShedMalformed, 1)
		_ = v.conn.CloseWithError(quic.ApplicationErrorCode(wrong.code), wrong.text)
	default:
		v.in.shed(ShedMalformed, 1)
		stream.CancelRead(quic.StreamErrorCode(wrong.code))
		stream.CancelWrite(quic.StreamErrorCode(wrong.code))
	}
}
