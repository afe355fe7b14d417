package ingress

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// arrivalLog is when queries arrived, by what their door was told.
type arrivalLog struct {
	mu    sync.Mutex
	times []time.Time
}

func (l *arrivalLog) note(q *Query) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = append(l.times, q.Arrived)
}

// forget begins anew.
func (l *arrivalLog) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = nil
}

// check fails where a query came before begun or after ended.
func (l *arrivalLog) check(t *testing.T, n int, begun, ended time.Time) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.times) != n {
		t.Errorf("%d queries were answered, want %d", len(l.times), n)
	}
	for i, at := range l.times {
		if at.Before(begun) || at.After(ended) {
			t.Errorf("query %d arrived at %v, want between %v and %v", i, at, begun, ended)
		}
	}
}

// The wait for a worker is part of what a query takes.
func TestUDPArrivedBeforeItWaited(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprint("plain ", plain), func(t *testing.T) {
			workers := NewWorkers(1)
			l := listen(t, "127.0.0.1:0", UDPConfig{Sockets: 1, Workers: workers, plain: plain})
			var log arrivalLog
			release := make(chan struct{})
			serve(t, l, &fakeDoor{respond: func(_ context.Context, q *Query, dst []byte) []byte {
				<-release
				log.note(q)
				return append(dst, q.Wire...)
			}})
			conn := dial(t, l, "127.0.0.1")
			begun := time.Now()
			send(t, conn, "w1")
			eventually(t, "the worker is busy", func() bool { return workers.Busy() == 1 })
			send(t, conn, "w2")
			eventually(t, "another waits", func() bool { return workers.Waiting() == 1 })
			ended := time.Now()
			close(release)
			receive(t, conn)
			receive(t, conn)
			log.check(t, 2, begun, ended)
		})
	}
}

// So is the wait for a place, of a query that came with those before it.
func TestStreamArrivedBeforeItWaited(t *testing.T) {
	s := serveStreams(t, streamSetup{})
	var log arrivalLog
	s.door.answerWith(func(q *Query) []byte {
		log.note(q)
		return q.Wire
	})
	conn := s.dial(t)
	var queries [][]byte
	for i := range pipelined + 1 {
		queries = append(queries, packQuestion(t, uint16(i), "held.example"))
	}
	begun := time.Now()
	sendAll(t, conn, framesOf(queries...))
	eventually(t, "every place is taken", func() bool { return s.door.held.Load() == pipelined })
	ended := time.Now()
	close(s.door.hold)
	for range queries {
		receiveFrame(t, conn)
	}
	log.check(t, len(queries), begun, ended)

	// What is read later has come later.
	begun = time.Now()
	log.forget()
	sendAll(t, conn, framesOf(packQuestion(t, 1, "later.example")))
	receiveFrame(t, conn)
	log.check(t, 1, begun, time.Now())
}
