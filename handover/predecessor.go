package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// predecessor is the process that this one takes over from.
type predecessor struct {
	pid  int
	conn *net.UnixConn
	left map[string]chan struct{} // of what it held: closed when it does not any more

	told    sync.Once // ready or failed
	reading sync.WaitGroup
}

// fromPredecessor begins the conversation and takes the sockets over.
func (s *Sockets) fromPredecessor(control string) error {
	fd, err := strconv.Atoi(control)
	if err != nil || fd < firstFD {
		return fmt.Errorf("%s=%q is not a descriptor: unset it; only a sallyport that is replaced by another sets it", handoverVariable, control)
	}
	closeOnExec(fd)
	file := os.NewFile(uintptr(fd), "handover")
	conn, err := net.FileConn(file)
	_ = file.Close() // conn has a duplicate
	if err != nil {
		return fmt.Errorf("%s=%q: %w: unset it; only a sallyport that is replaced by another sets it", handoverVariable, control, err)
	}
	local, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.Join(fmt.Errorf("%s=%q is not a local socket: unset it", handoverVariable, control), conn.Close())
	}
	p := &predecessor{conn: local, left: map[string]chan struct{}{}}
	s.predecessor = p
	words := hearing(local)
	err = s.takeOver(words)
	if err != nil {
		s.Failed(err)
		s.Close()
		return fmt.Errorf("take over from the process before: %w", err)
	}
	p.reading.Go(func() { p.hear(words) })
	return nil
}

func (s *Sockets) takeOver(words *json.Decoder) error {
	p := s.predecessor
	if err := p.conn.SetReadDeadline(time.Now().Add(manifestWithin)); err != nil {
		return err
	}
	var m manifest
	if err := words.Decode(&m); err != nil {
		return fmt.Errorf("read what it passes: %w", err)
	}
	if m.Version != protocol {
		return fmt.Errorf("it speaks version %d of the conversation, and this program %d: restart instead", m.Version, protocol)
	}
	if len(m.Sockets) > maxSockets {
		return fmt.Errorf("it passes %d sockets: at most %d are taken", len(m.Sockets), maxSockets)
	}
	p.pid, s.succeeded, s.failed = m.PID, m.Succeeded, m.Failed
	copy(s.secret[:], m.Secret)
	for _, what := range m.Held {
		p.left[what] = make(chan struct{})
	}
	for _, passed := range m.Sockets {
		i, err := newInherited(passed.FD)
		if err != nil {
			return fmt.Errorf("descriptor %d, which was %q on %s: %w", passed.FD, passed.Name, passed.Asked, err)
		}
		i.from, i.systemd, i.name, i.asked = fromPredecessor, passed.Systemd, passed.Name, passed.Asked
		s.waiting = append(s.waiting, i)
	}
	return p.conn.SetReadDeadline(time.Time{})
}

// hear listens to what the process before lets go of, until that is no more.
func (p *predecessor) hear(words *json.Decoder) {
	held := maps.Clone(p.left) // what is closed already goes
	for {
		var w word
		err := words.Decode(&w)
		for what, left := range held {
			if err != nil || w.Word == wordLeft && w.Text == what {
				close(left)
				delete(held, what)
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *predecessor) close() {
	_ = p.conn.Close()
	p.reading.Wait()
}

// Predecessor is the number of the process that this one takes over from; 0
// where there is none.
func (s *Sockets) Predecessor() int {
	if s == nil || s.predecessor == nil {
		return 0
	}
	return s.predecessor.pid
}

// Left is closed once the process before does not hold any more what it called
// so (see Hold); from the beginning where it never did, or where there is none.
func (s *Sockets) Left(what string) <-chan struct{} {
	if s != nil && s.predecessor != nil {
		if left, ok := s.predecessor.left[what]; ok {
			return left
		}
	}
	left := make(chan struct{})
	close(left)
	return left
}

// Ready tells the process before, if there is one, that this one serves. From
// then on it is this one alone that new clients have.
func (s *Sockets) Ready() error {
	if s == nil || s.predecessor == nil {
		return nil
	}
	return s.predecessor.tell(word{Word: wordReady})
}

// Failed tells the process before, if there is one, why this one ends. After
// Ready it says nothing.
func (s *Sockets) Failed(why error) {
	if s == nil || s.predecessor == nil || why == nil {
		return
	}
	_ = s.predecessor.tell(word{Word: wordFailed, Text: shorten(why.Error())}) // it notices the end in any case
}

func (p *predecessor) tell(w word) (err error) {
	p.told.Do(func() { err = say(p.conn, w) })
	if err != nil {
		return fmt.Errorf("tell the process before: %w", err)
	}
	return nil
}
