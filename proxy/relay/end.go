package relay

import (
	"syscall"
	"time"
)

// end is one of the two connections of a flow.
type end struct {
	stream Stream

	// Of a TCP connection that is used by its descriptor; nil of any other
	// stream.
	raw syscall.RawConn

	// What the parking waits for, and whether it knows the descriptor. The
	// flow's lock guards them.
	wants  uint32
	listed bool
}

// bare reports whether the end is a TCP connection whose descriptor is used.
func (e *end) bare() bool { return e.raw != nil }

// closeWrite says that no more will come; false where the stream cannot.
func (e *end) closeWrite() bool {
	half, ok := e.stream.(interface{ CloseWrite() error })
	if ok {
		_ = half.CloseWrite() // where it fails, the other direction notices
	}
	return ok
}

// interruptRead makes a Read that waits return; false where the stream knows no
// deadlines.
func (e *end) interruptRead() bool {
	s, ok := e.stream.(interface{ SetReadDeadline(time.Time) error })
	return ok && s.SetReadDeadline(longAgo) == nil
}

// interruptWrite does the same for a Write.
func (e *end) interruptWrite() bool {
	s, ok := e.stream.(interface{ SetWriteDeadline(time.Time) error })
	return ok && s.SetWriteDeadline(longAgo) == nil
}

// calm lifts what interruptRead and interruptWrite have set.
func (e *end) calm() {
	if s, ok := e.stream.(interface{ SetReadDeadline(time.Time) error }); ok {
		_ = s.SetReadDeadline(time.Time{})
	}
	if s, ok := e.stream.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = s.SetWriteDeadline(time.Time{})
	}
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)
