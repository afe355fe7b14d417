package relay

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	pipeBytes = 1 << 20 // what a pipe should have room for

	// leastPipe is what it must have room for to be of use. A user who has too
	// many pipes gets them with room for two pages.
	leastPipe = 64 << 10
)

// pipe is a pipe to splice through. It is empty when nobody uses it.
type pipe struct{ out, in int }

// empty reads all that is in the pipe, which is as much as p holds.
func (p *pipe) empty(into []byte) bool {
	for len(into) > 0 {
		n, err := unix.Read(p.out, into)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return false
		}
		into = into[n:]
	}
	return true
}

func (p *pipe) close() {
	_ = unix.Close(p.out)
	_ = unix.Close(p.in)
}

// pipes is a bounded pool of pipes. Safe for concurrent use.
type pipes struct {
	mu     sync.Mutex
	limit  int
	open   int
	spare  []*pipe
	least  int  // spare ones since the last trim
	denied bool // the system gave none that is of use, since the last trim
}

func newPipes(limit int) *pipes { return &pipes{limit: limit} }

// get gives a pipe, or nil where there is none to be had.
func (p *pipes) get() *pipe {
	p.mu.Lock()
	if last := len(p.spare) - 1; last >= 0 {
		taken := p.spare[last]
		p.spare = p.spare[:last]
		p.least = min(p.least, last)
		p.mu.Unlock()
		return taken
	}
	if p.open >= p.limit || p.denied {
		p.mu.Unlock()
		return nil
	}
	p.open++
	p.mu.Unlock()
	made := newPipe()
	if made == nil {
		p.mu.Lock()
		p.open--
		p.denied = true
		p.mu.Unlock()
	}
	return made
}

// put takes a pipe back. One that is not empty is of no further use.
func (p *pipes) put(taken *pipe, empty bool) {
	p.mu.Lock()
	if empty {
		p.spare = append(p.spare, taken)
		p.mu.Unlock()
		return
	}
	p.open--
	p.mu.Unlock()
	taken.close()
}

// trim closes the pipes that nobody has needed since it was last called.
func (p *pipes) trim() {
	p.mu.Lock()
	excess := min(p.least, len(p.spare))
	idle := append([]*pipe(nil), p.spare[:excess]...)
	p.spare = append(p.spare[:0], p.spare[excess:]...)
	p.open -= excess
	p.least, p.denied = len(p.spare), false
	p.mu.Unlock()
	for _, unused := range idle {
		unused.close()
	}
}

// close closes the pipes; nobody uses one any more.
func (p *pipes) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, unused := range p.spare {
		unused.close()
	}
	p.open -= len(p.spare)
	p.spare, p.limit = nil, 0
}

// newPipe makes a pipe; nil where the system gives none, or a small one.
func newPipe() *pipe {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil
	}
	made := &pipe{out: fds[0], in: fds[1]}
	for _, size := range []int{pipeBytes, pipeBytes / 4} {
		if _, err := unix.FcntlInt(uintptr(made.in), unix.F_SETPIPE_SZ, size); err == nil {
			return made
		}
	}
	if size, err := unix.FcntlInt(uintptr(made.in), unix.F_GETPIPE_SZ, 0); err != nil || size < leastPipe {
		made.close()
		return nil
	}
	return made
}
