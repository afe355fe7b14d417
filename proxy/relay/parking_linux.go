package relay

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// parking is an epoll set of the descriptors that parked ways wait for, and
// those who wait on it. A descriptor that has been waited for is not waited for
// again (EPOLLONESHOT) until it is armed again.
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

	calls sync.Pool // of *armCall

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
	p := &parking{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, calls: sync.Pool{New: newArmCall}}
	// Deadlines are known only to what the runtime's poller has accepted.
	if err = p.file.SetReadDeadline(time.Time{}); err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("wait for an epoll set: %w", err)
	}
	return p, nil
}

// close ends run. No flow is left.
func (p *parking) close() error { return p.file.Close() }

// park leaves a way until its source has something to say, or, while it is
// writing, until its destination takes something. It reports whether that could
// be arranged. The lock is held.
func (f *Flow) park(w *way, writing bool) bool {
	side, wanted := w.from, uint32(readable)
	if writing {
		side, wanted = w.from.other(), uint32(writable)
	}
	e := &f.ends[side]
	if !e.bare() || !f.parking.arm(f, side, e.wants|wanted) {
		return false
	}
	w.state = wayParked
	return true
}

// guard waits for the client to reset its connection, besides what is waited for
// there. The lock is held.
func (f *Flow) guard() { _ = f.parking.arm(f, Client, f.ends[Client].wants|unix.EPOLLERR) }

// arm waits for one of the events at one end of a flow. The flow's lock is held.
func (p *parking) arm(f *Flow, side Side, events uint32) bool {
	if f.ticket == (ticket{}) {
		f.ticket = p.issue(f)
	}
	e := &f.ends[side]
	operation := unix.EPOLL_CTL_MOD
	if !e.listed {
		operation = unix.EPOLL_CTL_ADD
	}
	c := p.calls.Get().(*armCall)
	defer p.calls.Put(c)
	c.set, c.operation = p.fd, operation
	c.event = unix.EpollEvent{
		Events: events | unix.EPOLLONESHOT,
		Fd:     f.ticket.slot<<1 | int32(side),
		Pad:    f.ticket.number,
	}
	if err := e.raw.Control(c.call); err != nil || c.err != nil {
		return false
	}
	e.listed, e.wants = true, events
	return true
}

// armCall is a call of epoll_ctl(2).
type armCall struct {
	call      func(fd uintptr) // do, bound once
	set       int
	operation int
	event     unix.EpollEvent
	err       error
}

func newArmCall() any {
	c := &armCall{}
	c.call = c.do
	return c
}

func (c *armCall) do(fd uintptr) { c.err = unix.EpollCtl(c.set, c.operation, int(fd), &c.event) }

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

// forget sees to it that no event finds a flow any more. The flow's lock is
// held.
func (p *parking) forget(f *Flow) {
	if f.ticket == (ticket{}) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slots[f.ticket.slot] = nil
	p.free = append(p.free, f.ticket.slot)
	f.ticket = ticket{}
}

// remove takes a descriptor out of the set that will stay open.
func (p *parking) remove(e *end) {
	if !e.listed {
		return
	}
	e.listed = false
	_ = e.raw.Control(func(fd uintptr) { _ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, int(fd), nil) })
}

// run wakes flows until the parking is closed.
func (p *parking) run() {
	poll := p.poll // bound once
	for p.raw.Read(poll) == nil {
		for i := range p.n {
			event := &p.events[i]
			p.mu.Lock()
			f := p.slots[event.Fd>>1]
			p.mu.Unlock()
			if f != nil {
				f.wake(ticket{event.Fd >> 1, event.Pad}, Side(event.Fd&1), event.Events)
			}
		}
	}
}

// poll takes what the set has; false where there is nothing.
func (p *parking) poll(fd uintptr) bool {
	n, err := unix.EpollWait(int(fd), p.events[:], 0)
	p.n = max(n, 0)
	return err == nil && n > 0 || errors.Is(err, unix.EINTR)
}

// wake sets those ways going that have waited for an event at one end. What is
// quickly done is done here, and the rest by movers of their own.
func (f *Flow) wake(t ticket, side Side, events uint32) {
	for _, m := range f.woken(t, side, events) {
		if m != nil {
			m.work()
		}
	}
}

// waiter is a way that may wait at one end of its flow, and for what.
type waiter struct {
	way    *way
	kind   uint32 // what it asks for
	events uint32 // what it is woken by
}

// woken launches the movers that an event calls for, but for those that it
// returns, and arms the end again for a way that it does not concern.
func (f *Flow) woken(t ticket, side Side, events uint32) (guests [2]*mover) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped || f.ticket != t {
		return guests
	}
	waiters := [2]waiter{
		{&f.ways[side], unix.EPOLLIN, readable},
		{&f.ways[side.other()], unix.EPOLLOUT, writable},
	}
	wanted, again := f.ends[side].wants, uint32(0)
	f.ends[side].wants = 0
	if up := &f.ways[Client]; side == Client && events&unix.EPOLLERR != 0 && up.state == wayParked && wanted&unix.EPOLLIN == 0 {
		f.abort(Outcome{Cause: CauseBroken, Side: Client}) // the way up waits for the upstream
		return guests
	}
	for i, x := range waiters {
		switch {
		case wanted&x.kind == 0 || x.way.state != wayParked:
		case events&x.events == 0:
			again |= x.events
		case f.brief(x.way):
			x.way.state = wayMoving
			guests[i] = f.relay.mover(f, x.way)
			guests[i].guest = true
		default:
			f.launch(x.way)
		}
	}
	if again == 0 || f.parking.arm(f, side, again) {
		return guests
	}
	for _, x := range waiters {
		if again&x.kind != 0 {
			f.launch(x.way) // it finds out what is wrong
		}
	}
	return guests
}

// brief reports whether a way has little to do, and need not wait for anything
// but descriptors. The lock is held.
func (f *Flow) brief(w *way) bool {
	return !w.greeting && !w.bulk && f.pace == nil && f.ends[w.from.other()].bare()
}
