package proxy

import (
	"os"
	"time"

	"go.uber.org/zap"
)

const (
	// acceptPause is how long a listener waits that cannot accept for want of
	// descriptors or memory.
	acceptPause = 20 * time.Millisecond

	// acceptGlance is how long it looks for a client to turn away.
	acceptGlance = time.Millisecond

	// acceptSilence is how long the log says nothing more of it.
	acceptSilence = time.Minute
)

// exhaustion is how a listener gets by when the system has no descriptor left.
// It has one saved: with that, it takes those clients who wait and turns them
// away, so that they know, rather than let them wait for nothing. It belongs to
// the goroutine that accepts.
type exhaustion struct {
	server   *Server
	listener *listener
	saved    *os.File // nil: it is in use, or there was none
	warned   time.Time
}

// save opens the descriptor to be given up; where that fails there is none
// until later.
func (e *exhaustion) save() {
	if e.saved == nil {
		e.saved, _ = os.Open(os.DevNull)
	}
}

func (e *exhaustion) drop() {
	if e.saved != nil {
		_ = e.saved.Close()
		e.saved = nil
	}
}

// endure gets over an accept that has failed: Linux has it fail where there is
// no descriptor left even when nobody waits.
func (e *exhaustion) endure(err error) {
	e.warn(err)
	e.drop()
	if !e.refuseOne() {
		select {
		case <-time.After(acceptPause):
		case <-e.listener.closed:
		}
	}
	e.save()
}

// refuseOne turns away a client that waits, with the descriptor that has just
// been given up; false where something else has taken it, or nobody waits.
func (e *exhaustion) refuseOne() bool {
	l := e.listener
	_ = l.SetDeadline(time.Now().Add(acceptGlance))
	conn, err := l.AcceptTCP()
	_ = l.SetDeadline(time.Time{})
	if err != nil {
		return false
	}
	e.server.metrics.shed.WithLabelValues(shedAccept).Inc()
	if len(l.full) > 0 {
		_ = conn.SetWriteDeadline(time.Now().Add(acceptPause))
		_, _ = conn.Write(l.full) // it may be destroyed by what the client sends: a descriptor is worth more
	}
	_ = conn.Close()
	return true
}

func (e *exhaustion) warn(err error) {
	if now := time.Now(); e.warned.IsZero() || now.Sub(e.warned) >= acceptSilence {
		e.warned = now
		e.server.dependencies.Log.Warn("connections cannot be accepted: raise the limit of open files (LimitNOFILE of systemd, ulimit -n), or lower proxy.limits",
			zap.String("address", e.listener.Addr().String()), zap.Error(err))
	}
}
