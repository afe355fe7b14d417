package relay

import (
	"io"
	"time"
)

// Stream is one end of a flow. A *net.TCPConn is carried best. Close must make
// a waiting Read and Write return. Of any other Stream these methods are used
// as well, where it has them:
//
//   - CloseWrite() error passes on that no more will come. Without it, the flow
//     ends when the other end has nothing more to send.
//   - SetReadDeadline(time.Time) error and SetWriteDeadline(time.Time) error
//     free a client that is refused while something waits for it. Without them
//     it is closed then, rather than given back.
type Stream = io.ReadWriteCloser

// Ends are the two ends of a flow. Nobody else may use them until it has ended.
// They have no deadlines set.
type Ends struct {
	Client   Stream
	Upstream Stream

	// Pace holds the flow back; nil lets it run.
	Pace Pacer
}

// Pacer shares out bandwidth.
type Pacer interface {
	// Take asks to move n bytes, 1 at least, that have arrived and wait to be
	// moved up, from client to upstream, or down. It waits until some of them
	// may be moved, and returns how many; what it grants will be moved. Once
	// over is closed it returns at once, with 0 or with any number. It is
	// called by one goroutine a direction, which holds no buffer meanwhile
	// where it reads from a TCP connection. What a greeting forwards is asked
	// for, too.
	Take(up bool, n int, over <-chan struct{}) int
}

// Handler is whom a flow belongs to. Greet and Ended are called in order and
// never at the same time. They are called by goroutines of the relay, which
// hold no lock: a Handler may call Flow.End in any of them, and take its time in
// Greet and Ended. Start calls none of them itself.
type Handler interface {
	// Greet judges how the client begins. The first call comes as soon as the
	// flow has started, with the early bytes, maybe none. Piece is what has
	// come since the last call, and is valid until Greet returns. After it has
	// answered Carry or Refuse it is not called again; after Pass it is called
	// once Forward has been written.
	Greet(piece []byte, occasion Occasion) Greeting

	// Moved says that n bytes have been written up, to the upstream, or down.
	// It is called for both directions at once, and must not wait for anything:
	// other flows wait meanwhile.
	Moved(up bool, n int64)

	// Ended says that the flow is over. It is called once for each flow that
	// Start has returned, after everything else; nothing of the relay touches
	// the two ends any more. Both are closed, except that a client which was
	// refused is open, without a deadline, and the Handler's to close.
	Ended(Outcome)
}

// Occasion says why Greet is called.
type Occasion uint8

const (
	Arrived Occasion = iota // piece has come
	Late                    // nothing has come within the time that Greet had given
	AtEnd                   // the client has nothing more to send (half-close)
)

// Greeting is the answer of Greet.
type Greeting struct {
	Then Then

	// Forward is sent to the upstream first; with Carry and Pass only. The flow
	// reads it for a while: it must not be changed.
	Forward []byte

	// Within bounds the wait for the next piece; with More only. When nothing
	// has come by then, Greet is called with Late. 0: there is no hurry.
	Within time.Duration
}

// Then says how a greeting goes on.
type Then uint8

const (
	// More waits for what the client says next. After AtEnd nothing can come:
	// the flow ends, and it was the client who ended it.
	More Then = iota

	// Carry sends Forward up, and then all that the client sends.
	Carry

	// Pass sends Forward up, and waits for what the client says next, however
	// long that takes.
	Pass

	// Refuse ends the flow and gives the client back: the upstream is closed,
	// nothing more goes down, and Ended gets CauseRefused with the client still
	// open. What the client has sent and Greet has not seen is still to be
	// read. Where End or something else has ended the flow before, the client
	// is closed, and Ended gets that cause.
	Refuse
)

// Outcome says how a flow ended.
type Outcome struct {
	Cause Cause

	// Side is the end that came to its end first, with CauseClosed, or that
	// broke, with CauseBroken.
	Side Side
}

// Cause is what ended a flow.
type Cause uint8

const (
	CauseClosed  Cause = iota // both ends came to their end
	CauseBroken               // one end could not be read any more
	CauseIdle                 // nothing moved for Config.Idle
	CauseEnded                // End was called, or the relay closed
	CauseRefused              // Greet refused
)

// String names the cause, for logs and tests.
func (c Cause) String() string {
	return [...]string{"closed", "broken", "idle", "ended", "refused"}[c]
}

// Side is one end of a flow.
type Side uint8

const (
	Client Side = iota
	Upstream
)

// String names the side, for logs and tests.
func (s Side) String() string { return [...]string{"client", "upstream"}[s] }

func (s Side) other() Side { return 1 - s }
