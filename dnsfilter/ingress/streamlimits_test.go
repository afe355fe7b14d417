package ingress

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/testpki"
)

// A query has so long to arrive, however many bytes of it come meanwhile.
func TestStreamTrickle(t *testing.T) {
	s := serveStreams(t, streamSetup{idle: 200 * time.Millisecond})
	conn := s.dial(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, conn)
	}()
	query := framesOf(make([]byte, 4096))
	for i := 0; ; i = (i + 1) % len(query) {
		select {
		case <-ended:
			return
		default:
		}
		if _, err := conn.Write(query[i : i+1]); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestStreamIdleEnds(t *testing.T) {
	s := serveStreams(t, streamSetup{idle: 50 * time.Millisecond})
	conn := s.dial(t)
	expectEnd(t, conn)
}

// A client whose query takes longer than a connection may idle is not idle.
func TestStreamWaitingIsNotIdle(t *testing.T) {
	const idle = time.Second
	a := testpki.New(t, "root")
	config := loadCertificates(t, serverFiles(t, a)).ServerConfig("dot")
	plain, secured := serveStreams(t, streamSetup{idle: idle}), serveStreams(t, streamSetup{idle: idle, tls: config})
	var conns []net.Conn
	for _, dial := range []func() net.Conn{
		func() net.Conn { return plain.dial(t) },
		func() net.Conn {
			return tls.Client(secured.dial(t), &tls.Config{RootCAs: a.Pool(), ServerName: "127.0.0.1"})
		},
	} {
		conn := dial()
		conns = append(conns, conn)
		sendAll(t, conn, framesOf(packQuestion(t, 1, "held.example")))
	}
	eventually(t, "both are held", func() bool { return plain.door.held.Load() == 1 && secured.door.held.Load() == 1 })
	time.Sleep(idle * 3 / 2) // the test holds however long it takes
	close(plain.door.hold)
	close(secured.door.hold)
	for _, conn := range conns {
		if id := replyID(receiveFrame(t, conn)); id != 1 {
			t.Errorf("reply to %d", id)
		}
	}
}

// A client that asks and does not read is cut off, and its replies forgotten.
func TestStreamSlowReader(t *testing.T) {
	s := serveStreams(t, streamSetup{idle: 100 * time.Millisecond})
	s.door.answerWith(func(q *Query) []byte { return make([]byte, 60000) })
	conn := s.dial(t)
	query := framesOf(packQuestion(t, 1, "later.example"), packQuestion(t, 1, "now.example"))
	eventually(t, "the connection is cut", func() bool {
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = conn.Write(query)
		return s.crowd.count(TCP) == 0
	})
	if n := s.backlog.Load(); n != 0 {
		t.Errorf("%d bytes are still accounted for", n)
	}
}

func TestStreamStopAnswersWhatIsUnderWay(t *testing.T) {
	s := serveStreams(t, streamSetup{})
	busy, quiet := s.dial(t), s.dial(t)
	sendAll(t, busy, framesOf(packQuestion(t, 1, "held.example")))
	eventually(t, "it is held", func() bool { return s.door.held.Load() == 1 })
	eventually(t, "both are inside", func() bool { return s.crowd.count(TCP) == 2 })
	s.stop()
	expectEnd(t, quiet)
	close(s.door.hold)
	if id := replyID(receiveFrame(t, busy)); id != 1 {
		t.Errorf("reply to %d", id)
	}
	<-s.done
	if conn, err := net.Dial("tcp", s.Address().Addr); err == nil {
		conn.Close()
		t.Error("it still accepts")
	}
}

func TestStreamStopUnderLoad(t *testing.T) {
	s := serveStreams(t, streamSetup{})
	var clients sync.WaitGroup
	for i := range 8 {
		conn := s.dial(t)
		clients.Go(func() {
			query := framesOf(packQuestion(t, uint16(i), "now.example"), packQuestion(t, uint16(i), "later.example"))
			for {
				if _, err := conn.Write(query); err != nil {
					return
				}
				for range 2 {
					if _, err := readFrame(conn); err != nil {
						if !errors.Is(err, io.EOF) {
							t.Errorf("a reply ends early, or in a reset: %v", err)
						}
						return
					}
				}
			}
		})
	}
	eventually(t, "there is some load", func() bool { return s.door.begun.Load() > 1000 })
	s.stop()
	clients.Wait()
	<-s.done
}

func TestStreamPerClientBound(t *testing.T) {
	s := serveStreams(t, streamSetup{limits: crowdLimits{conns: 64, each: 2}})
	first, second := s.dial(t), s.dial(t)
	for _, conn := range []net.Conn{first, second} {
		sendAll(t, conn, framesOf(packQuestion(t, 1, "now.example")))
		receiveFrame(t, conn)
	}
	expectEnd(t, s.dial(t))
	if n := s.shed.of(ShedClientConnections); n != 1 {
		t.Errorf("%d shed", n)
	}
	first.Close()
	eventually(t, "there is room again", func() bool { return s.crowd.count(TCP) == 1 })
	third := s.dial(t)
	sendAll(t, third, framesOf(packQuestion(t, 1, "now.example")))
	receiveFrame(t, third)
}

// Thousands that say nothing shut nobody out, and neither who speaks nor who
// waits for an answer is sent away for them.
func TestStreamSilentConnections(t *testing.T) {
	s := serveStreams(t, streamSetup{limits: crowdLimits{conns: 8, each: 1000}})
	waits := s.dial(t)
	sendAll(t, waits, framesOf(packQuestion(t, 1, "held.example")))
	eventually(t, "it is held", func() bool { return s.door.held.Load() == 1 })
	for range 200 {
		s.dial(t)
	}
	speaks := s.dial(t)
	sendAll(t, speaks, framesOf(packQuestion(t, 2, "now.example")))
	if id := replyID(receiveFrame(t, speaks)); id != 2 {
		t.Errorf("reply to %d", id)
	}
	close(s.door.hold)
	if id := replyID(receiveFrame(t, waits)); id != 1 {
		t.Errorf("reply to %d", id)
	}
	if n := s.crowd.count(TCP); n > 8 {
		t.Errorf("%d connections are open", n)
	}
	if s.shed.of(ShedConnections) == 0 {
		t.Error("nothing was counted")
	}
}

func TestStreamStrangersAreToldOnce(t *testing.T) {
	s := serveStreams(t, streamSetup{known: nobodyFrom("127."), limits: crowdLimits{conns: 32, each: 32}})
	conn := s.dial(t)
	sendAll(t, conn, framesOf(packQuestion(t, 1, "later.example"), packQuestion(t, 2, "later.example")))
	if id := replyID(receiveFrame(t, conn)); id != 1 {
		t.Errorf("reply to %d", id)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, conn)
	eventually(t, "it is counted out", func() bool { return s.crowd.count(TCP) == 0 })

	// Two of 32 connections are all that they get together: a third goes for
	// the first.
	enter := func(n int) *net.TCPConn {
		conn := s.dial(t)
		eventually(t, "it is known as a stranger", func() bool { return s.crowd.standing(stranger) == n })
		return conn
	}
	first, second := enter(1), enter(2)
	third := s.dial(t)
	expectEnd(t, first)
	for _, conn := range []net.Conn{second, third} {
		sendAll(t, conn, framesOf(packQuestion(t, 3, "now.example")))
		receiveFrame(t, conn)
	}
}
