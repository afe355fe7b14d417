package relay

import (
	"errors"
	"io"
	"time"
)

// readResult is what a Read has returned.
type readResult struct {
	n   int
	err error
}

// errLate ends a wait for a piece of a greeting.
var errLate = errors.New("the greeting takes too long")

// maxEmptyReads is how many reads in a row may return nothing at all.
const maxEmptyReads = 100

// fetchStream fetches from a stream that has no descriptor to wait on: it
// waits in Read, with a small buffer while there is little to read.
func (m *mover) fetchStream() ending {
	for range maxEmptyReads {
		into := m.vessel()
		result := m.read(into)
		if result.n > 0 {
			m.bulk = result.n == len(into)
			m.cargo.piece = into[:result.n]
			if m.way.greeting {
				return going
			}
			return m.pay(result.n)
		}
		switch {
		case result.err == nil:
		case errors.Is(result.err, errLate):
			return late
		case errors.Is(result.err, io.EOF):
			return eof
		default:
			return readFailed
		}
	}
	return readFailed
}

// vessel is what to read into: the block while a lot comes, and the sip, with
// the block given back, otherwise. A Read that is under way has its own.
func (m *mover) vessel() []byte {
	c := &m.cargo
	switch {
	case m.pending != nil && c.block != nil:
		return c.block[:]
	case m.pending != nil:
		return c.sip[:]
	}
	m.relay.release(c)
	if m.bulk {
		c.block = m.relay.blocks.get()
		return c.block[:]
	}
	c.sip = m.relay.sips.get()
	return c.sip[:]
}

// read reads from the source. While a greeting has a limit, it does so on
// another goroutine, which it leaves waiting when the limit has passed: not
// every stream can be read again behind a deadline.
func (m *mover) read(into []byte) readResult {
	due := m.way.due // written by this goroutine alone
	if m.pending == nil {
		if due == 0 {
			n, err := m.src.stream.Read(into)
			return readResult{n, err}
		}
		source, pending := m.src.stream, make(chan readResult, 1)
		m.pending = pending
		m.relay.running.Go(func() {
			n, err := source.Read(into)
			pending <- readResult{n, err}
		})
	}
	if due == 0 {
		return m.await()
	}
	timer := time.NewTimer(time.Duration(due) - m.relay.now())
	defer timer.Stop()
	select {
	case result := <-m.pending:
		m.pending = nil
		return result
	case <-timer.C:
		return readResult{0, errLate}
	}
}

// await waits for the Read that is under way.
func (m *mover) await() readResult {
	result := <-m.pending
	m.pending = nil
	return result
}

// abandon ends a Read that was left waiting when its way is over.
func (m *mover) abandon() {
	if m.pending == nil {
		return
	}
	if !m.src.interruptRead() {
		_ = m.src.stream.Close()
	}
	m.await()
}

// writeStream writes, and waits until that is done. It makes known that it does,
// and does not begin once the flow is over: the client may have been given back.
func (m *mover) writeStream(p []byte) (int, ending) {
	if !m.enterWrite(true) {
		return 0, stopped
	}
	n, err := m.dst.stream.Write(p)
	m.enterWrite(false)
	if err != nil || n < len(p) {
		return n, writeFailed
	}
	return n, going
}

// enterWrite says whether the way is in a Write. It is false when the flow is
// over.
func (m *mover) enterWrite(in bool) bool {
	m.flow.mu.Lock()
	defer m.flow.mu.Unlock()
	m.way.writing = in && !m.flow.stopped
	return !m.flow.stopped
}
