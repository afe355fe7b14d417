package relay

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// parking is an epoll set of the descriptors that parked ways wait for. Each
// is waited for once (EPOLLONESHOT) and must then be armed again.
//
// The set is known to the runtime's poller as a descriptor like any other, so
// that waiting on it takes no thread. A descriptor leaves the set when it is
// closed (epoll(7)); what is found in the set after that, or after its flow has
// been forgotten, is recognised by its ticket.
type parking struct {
	file *os.File
	raw  syscall.RawConn
	fd   int

	events [128]unix.EpollEvent // the waker's
	n      int

	mu     sync.Mutex
	issued int32   // tickets
	slots  []*Flow // by ticket.slot
	free   []int32 // slots
}

// ticket tells a flow from all others that have been in the same place. The
// zero ticket is none.
type ticket struct{ slot, number int32 }

const (
	readable = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	writable = unix.EPOLLOUT | unix.EPOLLHUP | unix.EPOLLERR
)

func newParking() (*parking, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll set: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make an epoll set: %w", err)
	}
	p := &parking{file: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("wait for an epoll set: %w", err)
	}
	return p, nil
}

// close ends run. No flow is left.
func (p *parking) close() error { return p.file.Close() }

// park gives up the mover of a way until its source has something to say, or,
// while it is writing, until its destination takes something. It reports
// whether that could be arranged. The flow's lock is held.
func (f *Flow) park(w *way, writing bool) bool {
	side, wanted := w.from, uint32(readable)
	if writing {
		side, wanted = w.from.other(), uint32(writable)
	}
	e := &f.ends[side]
	if !e.bare() || !f.relay.parking.arm(f, side, e.wants|wanted) {
		return false
	}
	e.wants |= wanted
	w.state = wayParked
	f.rest()
	return true
}

// arm waits for one of the events at one end of a flow.
func (p *parking) arm(f *Flow, side Side, events uint32) bool {
	if f.ticket == (ticket{}) {
		f.ticket = p.issue(f)
	}
	e := &f.ends[side]
	event := unix.EpollEvent{Events: events | unix.EPOLLONESHOT, Fd: f.ticket.slot<<1 | int32(side), Pad: f.ticket.number}
	operation := unix.EPOLL_CTL_MOD
	if !e.listed {
		operation = unix.EPOLL_CTL_ADD
	}
	failed := errors.New("not called")
	err := e.raw.Control(func(fd uintptr) { failed = unix.EpollCtl(p.fd, operation, int(fd), &event) })
	if err != nil || failed != nil {
		return false
	}
	e.listed = true
	return true
}

func (p *parking) issue(f *Flow) ticket {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.issued++; p.issued == 0 {
		p.issued++
	}
	if last := len(p.free) - 1; last >= 0 {
		slot := p.free[last]
		p.free = p.free[:last]
		p.slots[slot] = f
		return ticket{slot, p.issued}
	}
	p.slots = append(p.slots, f)
	return ticket{int32(len(p.slots) - 1), p.issued}
}

// forget takes a flow out of the parking. The flow's lock is held, or nobody
// else has the flow.
func (p *parking) forget(f *Flow) {
	if f.ticket == (ticket{}) {
		return
	}
	for side := range f.ends {
		e := &f.ends[side]
		if !e.listed {
			continue
		}
		e.listed, e.wants = false, 0
		_ = e.raw.Control(func(fd uintptr) { _ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, int(fd), nil) })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slots[f.ticket.slot] = nil
	p.free = append(p.free, f.ticket.slot)
	f.ticket = ticket{}
}

// run wakes flows until the parking is closed.
func (p *parking) run() {
	for p.raw.Read(p.poll) == nil {
		for i := range p.n {
			event := &p.events[i]
			p.mu.Lock()
			f := p.slots[event.Fd>>1]
			p.mu.Unlock()
			if f != nil {
				f.wake(ticket{event.Fd >> 1, event.Pad}, Side(event.Fd&1), event.Events)
			}
		}
		clear(p.events[:p.n])
	}
}

// poll takes what the set has; false where there is nothing.
func (p *parking) poll(fd uintptr) bool {
	n, err := unix.EpollWait(int(fd), p.events[:], 0)
	p.n = max(n, 0)
	return err == nil && n > 0
}

// wake sets those ways going that have waited for an event at one end, and
// arms the end again for the others.
func (f *Flow) wake(t ticket, side Side, events uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped || f.ticket != t {
		return
	}
	e := &f.ends[side]
	wanted := e.wants
	e.wants = 0
	from, to := &f.ways[side], &f.ways[side.other()]
	reads, writes := wanted&unix.EPOLLIN != 0, wanted&unix.EPOLLOUT != 0
	if reads && events&readable == 0 {
		e.wants |= readable
		reads = false
	}
	if writes && events&writable == 0 {
		e.wants |= writable
		writes = false
	}
	if e.wants != 0 && !f.relay.parking.arm(f, side, e.wants) {
		// It cannot be waited for here: its movers shall wait themselves.
		reads, writes = wanted&unix.EPOLLIN != 0, wanted&unix.EPOLLOUT != 0
		e.wants = 0
	}
	if reads {
		f.resume(from)
	}
	if writes {
		f.resume(to)
	}
}
