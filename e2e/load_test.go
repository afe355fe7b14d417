package e2e

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// load asks the DNS door without a pause, from one socket.
type load struct {
	quit  chan struct{}
	done  chan error
	asked atomic.Int64
}

func startLoad(t *testing.T, server, name string) *load {
	t.Helper()
	conn, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	l := &load{quit: make(chan struct{}), done: make(chan error, 1)}
	go func() {
		defer conn.Close()
		l.done <- l.run(conn, name)
	}()
	eventually(t, "queries are under way", func() error {
		if l.asked.Load() < 10 {
			return errors.New("few answers yet")
		}
		return nil
	})
	return l
}

func (l *load) run(conn net.Conn, name string) error {
	for id := uint16(0); ; id++ {
		select {
		case <-l.quit:
			return nil
		default:
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		reply, err := askOn(conn, id, name, dnsmessage.TypeA)
		if err != nil {
			return fmt.Errorf("query %d was lost: %w", l.asked.Load(), err)
		}
		if reply.RCode != dnsmessage.RCodeSuccess || len(reply.Answers) != 1 {
			return fmt.Errorf("query %d: %v with %d answers", l.asked.Load(), reply.RCode, len(reply.Answers))
		}
		l.asked.Add(1)
	}
}

func (l *load) stop(t *testing.T) {
	t.Helper()
	close(l.quit)
	if err := <-l.done; err != nil {
		t.Error(err)
	}
	t.Logf("%d DNS queries, all answered", l.asked.Load())
}
