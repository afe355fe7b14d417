package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// endWithin is how long a new process that failed may take to end.
const endWithin = 5 * time.Second

// Successor is the process that has taken over. Close it before this one ends.
// Safe for concurrent use.
type Successor struct {
	cmd   *exec.Cmd
	conn  *net.UnixConn
	words *json.Decoder
	ended chan struct{}

	sockets *Sockets // of this process
	waits   []string // for what this process held when it was started
	hearing sync.WaitGroup
}

// HandOver starts a program with every socket that listeners have, and returns
// when it says that it serves. Then the caller stops accepting and reading, and
// drains. The program has until the end of ctx; where it fails, it is gone when
// HandOver returns, and nothing has changed.
func (s *Sockets) HandOver(ctx context.Context, p Program) (*Successor, error) {
	if s == nil {
		return nil, errors.New("the sockets cannot be passed on")
	}
	next, err := s.start(p)
	if err == nil {
		if err = next.awaitReady(ctx); err != nil {
			err = next.end(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed++
		return nil, err
	}
	s.succeeded++
	next.hearing.Go(next.hear)
	s.successor = next
	for _, what := range next.waits {
		if s.held[what] == 0 { // let go of meanwhile
			next.left(what)
		}
	}
	return next, nil
}

// start starts the program and tells it what it gets.
func (s *Sockets) start(p Program) (*Successor, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("start a new process: %w", err)
	}
	defer theirs.Close()
	passed, files, err := s.duplicates()
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pass the sockets on: %w", err), ours.Close())
	}
	n := &Successor{sockets: s, conn: ours, words: hearing(ours), ended: make(chan struct{})}
	n.cmd = &exec.Cmd{
		Path:       p.Path,
		Args:       p.Args,
		Env:        append(p.environment(), fmt.Sprintf("%s=%d", handoverVariable, firstFD)),
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		ExtraFiles: append([]*os.File{theirs}, files...),
	}
	if err := n.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %q: %w", p.Path, err), ours.Close())
	}
	if err := say(ours, s.manifest(n, passed)); err != nil {
		return nil, n.end(fmt.Errorf("tell it what it gets: %w", err))
	}
	return n, nil
}

func (s *Sockets) manifest(n *Successor, passed []passedSocket) manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.waits = slices.Sorted(maps.Keys(s.held))
	return manifest{
		Version: protocol, PID: os.Getpid(), Sockets: passed, Held: n.waits, Secret: s.secret[:],
		Succeeded: s.succeeded + 1, Failed: s.failed,
	}
}

// duplicates are the sockets of all listeners that are open, and what to say of
// them.
func (s *Sockets) duplicates() (passed []passedSocket, files []*os.File, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.used {
		file, err := duplicate(u.raw, u.name)
		if errors.Is(err, net.ErrClosed) {
			continue
		}
		if err != nil {
			return nil, files, fmt.Errorf("%s on %s: %w", u.name, u.asked, err)
		}
		// Behind the control connection.
		passed = append(passed, passedSocket{FD: firstFD + 1 + len(files), Name: u.name, Asked: u.asked, Systemd: u.systemd})
		files = append(files, file)
	}
	return passed, files, nil
}

// awaitReady waits for the new process's first word.
func (n *Successor) awaitReady(ctx context.Context) error {
	inTime := context.AfterFunc(ctx, func() { _ = n.conn.SetReadDeadline(time.Unix(1, 0)) })
	var w word
	err := n.words.Decode(&w)
	switch {
	case !inTime():
		return fmt.Errorf("the new process was not ready in time: %w", context.Cause(ctx))
	case err != nil:
		return errors.New("the new process ended before it was ready")
	case w.Word == wordFailed:
		return fmt.Errorf("the new process did not start: %s", w.Text)
	case w.Word != wordReady:
		return fmt.Errorf("the new process said %q, and neither that it is ready nor that it failed", w.Word)
	}
	return nil
}

// end waits for a new process that failed, makes it go where it does not, and
// adds how it ended to why it had to.
func (n *Successor) end(why error) error {
	defer n.conn.Close()
	_ = n.cmd.Process.Signal(syscall.SIGTERM) // what it has accepted meanwhile it may still answer
	killer := time.AfterFunc(endWithin, func() { _ = n.cmd.Process.Kill() })
	defer killer.Stop()
	err := n.cmd.Wait()
	var status *exec.ExitError
	if errors.As(err, &status) && status.Exited() {
		return fmt.Errorf("%w (process %d, %s)", why, n.PID(), status)
	}
	return fmt.Errorf("%w (process %d)", why, n.PID())
}

// hear waits for the end of the new process.
func (n *Successor) hear() {
	defer close(n.ended)
	for {
		var w word
		if err := n.words.Decode(&w); err != nil {
			return
		}
	}
}

// left tells the new process that it has something for itself now.
func (n *Successor) left(what string) {
	_ = say(n.conn, word{Word: wordLeft, Text: what}) // our end says it too
}

// PID is the new process's number.
func (n *Successor) PID() int { return n.cmd.Process.Pid }

// Ended is closed when the new process has ended, or after Close.
func (n *Successor) Ended() <-chan struct{} { return n.ended }

// Close ends the conversation. The new process goes on, and takes it that this
// one holds nothing any more: it waits for what this one waits for itself.
func (n *Successor) Close() {
	n.sockets.turns.Wait()
	_ = n.conn.Close()
	n.hearing.Wait()
	_ = n.cmd.Process.Release()
}
