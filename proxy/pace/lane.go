package pace

import (
	"container/heap"
	"sync"
	"time"
)

const (
	leastQuantum = 4 << 10
	mostQuantum  = 64 << 10

	tick = time.Millisecond      // between grants to those who wait, at least
	hold = 50 * time.Millisecond // how much of the rate a bucket holds
)

// lane is one direction of a group.
type lane struct {
	rate    float64 // bytes a second
	quantum int     // of a grant, at most
	burst   float64 // bytes that the bucket holds

	mu     sync.Mutex
	tokens float64 // in the bucket at filled; negative: a debt
	filled time.Time
	now    int64 // tag of whoever was served last
	turns  turns // of the clients who wait
	timer  *time.Timer
	armed  bool
}

func (l *lane) open(rate int64) {
	l.rate = float64(rate)
	quantum := max(min(max(rate/200, leastQuantum), mostQuantum), rate/1000)
	l.quantum = int(quantum)
	l.burst = max(l.rate*hold.Seconds(), float64(quantum))
	l.tokens, l.filled = l.burst, time.Now()
}

// catchUp gives a client that was away a tag from which it competes with the
// others. It may be behind them by a little: whoever moves what he has been
// granted is away for a moment, too, and should not lose his turn by it, and
// whoever wants little should not wait for everybody.
func (l *lane) catchUp(q *queue) {
	if q.first == nil {
		q.tag = max(q.tag, l.now-2*int64(l.quantum))
	}
}

// floor is how many tokens there must be, and more, for a client that comes for
// n bytes to be served at once. Where others wait whose turn is before his there
// are never enough. Where his turn was before theirs, and had only been missed,
// there may be a debt.
func (l *lane) floor(q *queue, n int) float64 {
	switch {
	case l.turns.Len() == 0:
		return 0
	case q.first != nil || q.tag+int64(min(n, l.quantum)) > l.turns[0].tag:
		return l.burst
	default:
		return -2 * float64(l.quantum)
	}
}

// take grants some of n bytes at once where that can be, and waits in the
// client's queue otherwise.
func (l *lane) take(q *queue, w *waiter, n int, over <-chan struct{}) int {
	l.mu.Lock()
	l.catchUp(q)
	if l.fill(); l.tokens > l.floor(q, n) {
		defer l.mu.Unlock()
		return l.grant(q, n)
	}
	if w.ready == nil {
		w.ready = make(chan struct{}, 1)
	}
	w.wanted, w.granted = n, 0
	q.push(w)
	if q.place == nowhere {
		heap.Push(&l.turns, q)
	}
	l.arm()
	l.mu.Unlock()
	select {
	case <-w.ready:
		return w.granted
	case <-over:
		return l.forgo(q, w)
	}
}

// forgo ends a wait. What was granted meanwhile stays granted.
func (l *lane) forgo(q *queue, w *waiter) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.granted > 0 {
		<-w.ready
		return w.granted
	}
	q.remove(w)
	if q.first == nil {
		heap.Remove(&l.turns, q.place)
	}
	return 0
}

// fill puts into the bucket what time has earned.
func (l *lane) fill() {
	now := time.Now()
	l.tokens = min(l.burst, l.tokens+now.Sub(l.filled).Seconds()*l.rate)
	l.filled = now
}

// grant serves a client with a quantum at most.
func (l *lane) grant(q *queue, n int) int {
	n = min(n, l.quantum)
	l.now = max(l.now, q.tag)
	q.tag += int64(n)
	l.tokens -= float64(n)
	return n
}

// serve grants what there are tokens for to those who wait. The timer calls it.
func (l *lane) serve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	l.fill()
	for l.tokens > 0 && l.turns.Len() > 0 {
		q := l.turns[0]
		w := q.first
		q.remove(w)
		w.granted = l.grant(q, w.wanted)
		if q.first == nil {
			heap.Remove(&l.turns, 0)
		} else {
			heap.Fix(&l.turns, 0)
		}
		w.ready <- struct{}{}
	}
	l.arm()
}

// arm sets the timer for when there will be tokens again, if anybody waits.
func (l *lane) arm() {
	if l.armed || l.turns.Len() == 0 {
		return
	}
	l.armed = true
	missing := time.Duration((1 - l.tokens) / l.rate * float64(time.Second))
	wait := max(missing, tick)
	if l.timer == nil {
		l.timer = time.AfterFunc(wait, l.serve)
		return
	}
	l.timer.Reset(wait)
}
