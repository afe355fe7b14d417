//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/bench/proxy/events"
)

const (
	patience = 5 * time.Second // that a try may take
	look     = 250 * time.Millisecond
)

// slot is one of the tries that are under way.
type slot struct {
	fd    int
	phase int
	began time.Time
	turn  int // how many tries this slot has made
	used  int // how many of them on this connection
	data  [8 << 10]byte
	n     int // bytes in data
	want  int // bytes that are still to come
	body  int // of the answer that is being read
}

// drill is what is done over and over again.
type drill interface {
	// where is whom a slot connects to.
	where() netip.AddrPort

	// step does what can be done in a slot now. After an error the try is over,
	// and its connection.
	step(s *slot) (verdict, error)
}

// verdict is where a try stands after a step.
type verdict int

const (
	waiting verdict = iota // for the next event
	kept                   // it is over, and the next may use its connection
	over                   // it is over, and the connection too
	again                  // it did not come to be, and is to be made anew
)

// engine makes tries, in so many slots at a time, for a while.
type engine struct {
	loop   *events.Loop
	drill  drill
	slots  []slot
	report report
}

// repeat has the drill done for a while, and reports how often that was.
func repeat(d drill, slots int, span time.Duration) (report, error) {
	loop, err := events.NewLoop()
	if err != nil {
		return report{}, err
	}
	e := &engine{loop: loop, drill: d, slots: make([]slot, slots)}
	began := time.Now()
	for i := range e.slots {
		if err := e.begin(i, began); err != nil {
			return report{}, err
		}
	}
	end, next := began.Add(span), began.Add(look)
	for now := began; now.Before(end); now = time.Now() {
		ready, err := e.loop.Wait(look)
		if err != nil {
			return report{}, err
		}
		now = time.Now()
		for _, i := range ready {
			if err := e.advance(int(i)); err != nil {
				return report{}, err
			}
		}
		if now.After(next) {
			next = now.Add(look)
			if err := e.giveUp(now); err != nil {
				return report{}, err
			}
		}
	}
	e.report.rate = float64(e.report.n) / time.Since(began).Seconds()
	return e.report, nil
}

// begin starts a try with a connection of its own.
func (e *engine) begin(i int, now time.Time) error {
	s := &e.slots[i]
	fd, err := events.Dial(e.drill.where())
	if err != nil {
		return err // the machine is out of something: no figure would mean anything
	}
	s.fd, s.phase, s.began, s.n, s.used = fd, 0, now, 0, 0
	s.turn++
	return e.loop.Watch(fd, int32(i))
}

// advance lets a slot go on, and begins its next try where one is over.
func (e *engine) advance(i int) error {
	s := &e.slots[i]
	for {
		v, err := e.drill.step(s)
		if v == waiting && err == nil {
			return nil
		}
		now := time.Now()
		switch {
		case v == again:
		case err != nil:
			e.report.note(fmt.Errorf("after %d bytes of try %d: %w", s.n, s.turn, err))
		default:
			e.report.n++
			e.report.took = append(e.report.took, now.Sub(s.began))
		}
		if v == kept {
			s.began = now
			s.turn++
			s.used++
			continue
		}
		// What a client is the first to close in peace it has to remember for a
		// minute, and it would soon be out of ports.
		events.Reset(s.fd)
		return e.begin(i, now)
	}
}

var errLate = errors.New("no answer in time")

// giveUp ends tries that take too long.
func (e *engine) giveUp(now time.Time) error {
	for i := range e.slots {
		s := &e.slots[i]
		if now.Sub(s.began) < patience {
			continue
		}
		e.report.note(fmt.Errorf("in phase %d: %w", s.phase, errLate))
		events.Reset(s.fd)
		if err := e.begin(i, now); err != nil {
			return err
		}
	}
	return nil
}
