package ingress

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// streamSetup is what differs between tests of one stream listener.
type streamSetup struct {
	limits    crowdLimits
	known     func(netip.Addr) bool
	idle      time.Duration
	proxyFrom []netip.Prefix
	slots     int
	tls       *tls.Config
}

// streamServer is a stream listener being served.
type streamServer struct {
	*streams
	door *testDoor
	shed *shedTally
	done chan struct{} // closed when Serve has returned
	stop func()
}

func serveStreams(t testing.TB, setup streamSetup) *streamServer {
	t.Helper()
	if setup.limits.conns == 0 {
		setup.limits = crowdLimits{conns: 64, each: 64}
	}
	if setup.known == nil {
		setup.known = everybody
	}
	if setup.idle == 0 {
		setup.idle = time.Minute
	}
	if setup.slots == 0 {
		setup.slots = 64
	}
	shed := &shedTally{}
	common := &shared{
		limits: limits{idle: setup.idle, proxyFrom: setup.proxyFrom},
		crowd:  newCrowd(setup.limits, setup.known, shed.add),
		slots:  newSlots(setup.slots),
		shed:   shed.add,
	}
	in, err := listenStreams(t.Context(), "127.0.0.1:0", common, setup.tls)
	if err != nil {
		t.Fatal(err)
	}
	s := &streamServer{streams: in, door: newTestDoor(), shed: shed, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(s.done)
		in.Serve(ctx, s.door)
	}()
	s.stop = func() {
		in.Stop()
		in.stop()
	}
	t.Cleanup(func() {
		cancel()
		s.stop()
		in.crowd.close()
		<-s.done
	})
	return s
}

func (s *streamServer) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Address().Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

func sendAll(t testing.TB, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatalf("send: %v", err)
	}
}

// receiveFrame reads one framed reply.
func receiveFrame(t testing.TB, r io.Reader) []byte {
	t.Helper()
	reply, err := readFrame(r)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return reply
}

func readFrame(r io.Reader) ([]byte, error) {
	var prefix [2]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint16(prefix[:]))
	_, err := io.ReadFull(r, reply)
	return reply, err
}

func replyID(reply []byte) uint16 { return binary.BigEndian.Uint16(reply) }

// expectEnd waits for the other side to close.
func expectEnd(t testing.TB, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	n, err := io.Copy(io.Discard, conn)
	var netError net.Error
	if errors.As(err, &netError) && netError.Timeout() {
		t.Fatal("the connection was not closed")
	}
	if n > 0 {
		t.Errorf("%d more bytes came before the end", n)
	}
}

func TestStreamAnswersBothWays(t *testing.T) {
	s := serveStreams(t, streamSetup{})
	conn := s.dial(t)
	for i, name := range []string{"now.example", "later.example", "now.example"} {
		sendAll(t, conn, framesOf(packQuestion(t, uint16(i), name)))
		reply := receiveFrame(t, conn)
		if replyID(reply) != uint16(i) || firstLabel(reply) != firstLabel(packQuestion(t, 0, name)) {
			t.Errorf("query %d for %s got the reply %x", i, name, reply)
		}
	}
	q := s.door.last(t)
	if got := conn.LocalAddr().String(); q.Client.String() != got || q.Transport != TCP || q.Peer != nil {
		t.Errorf("the door saw %+v, from %s", q, got)
	}
	conn.Close()
	eventually(t, "every burst has ended", func() bool { return s.door.begun.Load() == s.door.ended.Load() })
	eventually(t, "the connection is counted out", func() bool { return s.crowd.count(TCP) == 0 })
}

func TestStreamMiekgClient(t *testing.T) {
	s := serveStreams(t, streamSetup{})
	client := dns.Client{Net: "tcp"}
	m := new(dns.Msg).SetQuestion("other.example.", dns.TypeAAAA)
	reply, _, err := client.Exchange(m, s.Address().Addr)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Id != m.Id || !reply.Response {
		t.Errorf("reply %v", reply)
	}
}

// A burst of queries arrives in one segment, and in the odd pieces that a
// network makes of it; it is answered whole either way.
func TestStreamPipelined(t *testing.T) {
	const queries = 400
	var burst []byte
	for i := range queries {
		name := "now.example"
		if i%5 == 0 {
			name = "later.example"
		}
		burst = append(burst, framesOf(packQuestion(t, uint16(i), name))...)
	}
	for _, piece := range []int{len(burst), 1000, 333, 7, 1} {
		t.Run(fmt.Sprint(piece), func(t *testing.T) {
			s := serveStreams(t, streamSetup{})
			conn := s.dial(t)
			go func() {
				for part := range bytesChunk(burst, piece) {
					if _, err := conn.Write(part); err != nil {
						return
					}
				}
			}()
			got := make(map[uint16]bool)
			for range queries {
				got[replyID(receiveFrame(t, conn))] = true
			}
			if len(got) != queries {
				t.Errorf("%d different replies to %d queries", len(got), queries)
			}
		})
	}
}

func bytesChunk(b []byte, n int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			part := b[:min(n, len(b))]
			b = b[len(part):]
			if !yield(part) {
				return
			}
		}
	}
}

// The replies to what one segment brought leave in one segment.
func TestStreamBurstIsOneWrite(t *testing.T) {
	s := serveStreams(t, streamSetup{})
	conn := s.dial(t)
	var burst []byte
	for i := range 20 {
		burst = append(burst, framesOf(packQuestion(t, uint16(i), "now.example"))...)
	}
	sendAll(t, conn, burst)
	replies := make([]byte, 64<<10)
	n, err := conn.Read(replies)
	if err != nil {
		t.Fatal(err)
	}
	if n != len(burst) {
		t.Errorf("the first read brought %d bytes of %d", n, len(burst))
	}
	if begun := s.door.begun.Load(); begun != 1 {
		t.Errorf("the desk began %d times for one burst", begun)
	}
}

func TestStreamOutOfOrder(t *testing.T) {
	s := serveStreams(t, streamSetup{})
	conn := s.dial(t)
	sendAll(t, conn, framesOf(packQuestion(t, 1, "held.example"), packQuestion(t, 2, "later.example"), packQuestion(t, 3, "now.example")))
	got := map[uint16]bool{replyID(receiveFrame(t, conn)): true, replyID(receiveFrame(t, conn)): true}
	if !got[2] || !got[3] {
		t.Errorf("got %v before the query that is held", got)
	}
	close(s.door.hold)
	if id := replyID(receiveFrame(t, conn)); id != 1 {
		t.Errorf("last reply has the id %d", id)
	}
}

// No more than so many queries of a connection are under way; the others wait
// in the kernel, and nothing is lost.
func TestStreamBoundsPipelining(t *testing.T) {
	s := serveStreams(t, streamSetup{})
	conn := s.dial(t)
	const queries = 3 * pipelined
	for i := range queries {
		sendAll(t, conn, framesOf(packQuestion(t, uint16(i), "held.example")))
	}
	eventually(t, "the connection is full", func() bool { return s.door.held.Load() == pipelined })
	close(s.door.hold)
	got := make(map[uint16]bool)
	for range queries {
		got[replyID(receiveFrame(t, conn))] = true
	}
	if len(got) != queries {
		t.Errorf("%d different replies to %d queries", len(got), queries)
	}
}

func TestStreamWaitsForASlot(t *testing.T) {
	s := serveStreams(t, streamSetup{slots: 1})
	first, second := s.dial(t), s.dial(t)
	sendAll(t, first, framesOf(packQuestion(t, 1, "held.example")))
	eventually(t, "the slot is taken", func() bool { return s.door.held.Load() == 1 })
	sendAll(t, second, framesOf(packQuestion(t, 2, "now.example"), packQuestion(t, 3, "later.example")))
	if id := replyID(receiveFrame(t, second)); id != 2 {
		t.Fatalf("reply to %d; a desk needs no slot", id)
	}
	close(s.door.hold)
	if id := replyID(receiveFrame(t, second)); id != 3 {
		t.Errorf("reply to %d", id)
	}
}

func TestStreamShedsWhatFindsNoSlot(t *testing.T) {
	s := serveStreams(t, streamSetup{slots: 1, idle: time.Second})
	sendAll(t, s.dial(t), framesOf(packQuestion(t, 1, "held.example")))
	eventually(t, "the slot is taken", func() bool { return s.door.held.Load() == 1 })
	second := s.dial(t)
	sendAll(t, second, framesOf(packQuestion(t, 2, "later.example")))
	expectEnd(t, second)
	if n := s.shed.of(ShedBusy); n != 1 {
		t.Errorf("%d queries shed", n)
	}
}

// A client that has closed its side still gets what it asked for.
func TestStreamHalfClosed(t *testing.T) {
	s := serveStreams(t, streamSetup{})
	conn := s.dial(t)
	sendAll(t, conn, framesOf(packQuestion(t, 1, "held.example"), packQuestion(t, 2, "now.example")))
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if id := replyID(receiveFrame(t, conn)); id != 2 {
		t.Errorf("reply to %d", id)
	}
	close(s.door.hold)
	if id := replyID(receiveFrame(t, conn)); id != 1 {
		t.Errorf("reply to %d", id)
	}
	expectEnd(t, conn)
}

func TestStreamSilence(t *testing.T) {
	s := serveStreams(t, streamSetup{})
	conn := s.dial(t)
	sendAll(t, conn, framesOf(packQuestion(t, 1, "silent.example"), packQuestion(t, 2, "now.example")))
	if id := replyID(receiveFrame(t, conn)); id != 2 {
		t.Errorf("reply to %d", id)
	}
}

func TestStreamLongReplies(t *testing.T) {
	s := serveStreams(t, streamSetup{})
	s.door.answerWith(func(q *Query) []byte {
		reply := make([]byte, 65535)
		copy(reply, q.Wire[:12])
		reply[65534] = 0xAB
		return reply
	})
	conn := s.dial(t)
	sendAll(t, conn, framesOf(packQuestion(t, 1, "now.example"), packQuestion(t, 2, "now.example")))
	for id := range 2 {
		reply := receiveFrame(t, conn)
		if len(reply) != 65535 || replyID(reply) != uint16(id+1) || reply[65534] != 0xAB {
			t.Errorf("reply of %d bytes to %d", len(reply), replyID(reply))
		}
	}
	sendAll(t, conn, framesOf(packQuestion(t, 3, "later.example")))
	if reply := receiveFrame(t, conn); len(reply) != 65535 {
		t.Errorf("reply of %d bytes", len(reply))
	}
}

// A reply that fits no frame is none; the connection is good for others.
func TestStreamImpossibleReply(t *testing.T) {
	s := serveStreams(t, streamSetup{})
	s.door.answerWith(func(q *Query) []byte {
		if q.Wire[1] == 1 {
			return make([]byte, 65536)
		}
		return q.Wire
	})
	conn := s.dial(t)
	sendAll(t, conn, framesOf(packQuestion(t, 1, "now.example"), packQuestion(t, 2, "now.example")))
	if id := replyID(receiveFrame(t, conn)); id != 2 {
		t.Errorf("reply to %d", id)
	}
}

func TestStreamImpossibleLengths(t *testing.T) {
	for _, length := range []int{0, 11, 4097, 65535} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			s := serveStreams(t, streamSetup{})
			conn := s.dial(t)
			// The query before it is still answered, and the answer is not
			// overtaken by a reset.
			sendAll(t, conn, framesOf(packQuestion(t, 1, "later.example"), make([]byte, length)))
			if id := replyID(receiveFrame(t, conn)); id != 1 {
				t.Errorf("reply to %d", id)
			}
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			expectEnd(t, conn)
			if n := s.shed.of(ShedMalformed); n != 1 {
				t.Errorf("%d shed as malformed", n)
			}
		})
	}
}

func TestStreamLongestQuery(t *testing.T) {
	s := serveStreams(t, streamSetup{})
	conn := s.dial(t)
	query := make([]byte, 4096)
	copy(query, packQuestion(t, 7, "later.example"))
	sendAll(t, conn, framesOf(query, query))
	for range 2 {
		if reply := receiveFrame(t, conn); len(reply) != 4096 {
			t.Errorf("reply of %d bytes", len(reply))
		}
	}
}

// Queries that a desk answers allocate nothing on their way.
func TestStreamAllocations(t *testing.T) {
	if streamsRaced {
		t.Skip("the race detector makes pools forget")
	}
	s := serveStreams(t, streamSetup{})
	s.door.forgetful = true
	conn := s.dial(t)
	query := framesOf(packQuestion(t, 1, "now.example"), packQuestion(t, 2, "now.example"))
	reply := make([]byte, len(query))
	ask := func() {
		sendAll(t, conn, query)
		if _, err := io.ReadFull(conn, reply); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	if n := testing.AllocsPerRun(1000, ask); n != 0 {
		t.Errorf("%v allocations for two queries", n)
	}
}
