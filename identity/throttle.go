package identity

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	failureBurst  = 20              // failures that an address may make at once
	failureRefill = 3 * time.Second // and then one more each
	maxThrottled  = 8_192           // addresses kept
	maxWaiting    = 64              // requests that wait for one bcrypt slot
	maxWait       = 5 * time.Second
)

// throttle limits failed attempts by address. It keeps, for each, the instant
// at which its debt is paid off; an address without debt needs no entry.
type throttle struct {
	mu     sync.Mutex
	paidAt map[netip.Addr]time.Duration
}

func newThrottle() *throttle { return &throttle{paidAt: map[netip.Addr]time.Duration{}} }

// take charges one attempt to addr; false where it can have none now.
func (t *throttle) take(addr netip.Addr, now time.Duration) bool {
	addr = throttleKey(addr)
	t.mu.Lock()
	defer t.mu.Unlock()
	paid, ok := t.paidAt[addr]
	paid = max(paid, now)
	if paid-now > (failureBurst-1)*failureRefill {
		return false
	}
	if !ok && len(t.paidAt) >= maxThrottled {
		// Those with the least debt go first. Beyond that many guessing
		// addresses the bcrypt gate is what still holds.
		evictSoonest(t.paidAt, func(v time.Duration) time.Duration { return v })
	}
	t.paidAt[addr] = paid + failureRefill
	return true
}

// giveBack returns an attempt that did not fail.
func (t *throttle) giveBack(addr netip.Addr, now time.Duration) {
	addr = throttleKey(addr)
	t.mu.Lock()
	defer t.mu.Unlock()
	paid, ok := t.paidAt[addr]
	if !ok {
		return // evicted meanwhile: nothing is owed
	}
	if paid -= failureRefill; paid <= now {
		delete(t.paidAt, addr)
		return
	}
	t.paidAt[addr] = paid
}

// throttleKey is the address, or its /64 in IPv6, where one client commands
// all of that.
func throttleKey(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}

// gate lets a few computations run at a time, and a bounded number wait for a
// bounded time.
type gate struct {
	slots   chan struct{}
	waiting atomic.Int64
}

func newGate(slots int) *gate { return &gate{slots: make(chan struct{}, slots)} }

// enter waits for a slot; false where the wait is too long.
func (g *gate) enter() bool {
	select {
	case g.slots <- struct{}{}:
		return true
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > int64(maxWaiting*cap(g.slots)) {
		return false
	}
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

// leave gives the slot back.
func (g *gate) leave() { <-g.slots }
