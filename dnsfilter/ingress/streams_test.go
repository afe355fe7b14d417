package ingress

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
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
	s := serveStreams(t, streamSetup{slots: 1, idle: 100 * time.Millisecond})
	first, second := s.dial(t), s.dial(t)
	sendAll(t, first, framesOf(packQuestion(t, 1, "held.example")))
	eventually(t, "the slot is taken", func() bool { return s.door.held.Load() == 1 })
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
	s := serveStreams(t, streamSetup{idle: 20 * time.Millisecond})
	conn := s.dial(t)
	sendAll(t, conn, framesOf(packQuestion(t, 1, "held.example")))
	eventually(t, "it is held", func() bool { return s.door.held.Load() == 1 })
	time.Sleep(100 * time.Millisecond) // more than the idle time; the test holds however long it takes
	close(s.door.hold)
	if id := replyID(receiveFrame(t, conn)); id != 1 {
		t.Errorf("reply to %d", id)
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

	// Two of 32 connections are all that they get together.
	s.dial(t)
	s.dial(t)
	eventually(t, "both are inside", func() bool { return s.crowd.count(TCP) == 2 })
	eventually(t, "both are known as strangers", func() bool {
		s.crowd.mu.Lock()
		defer s.crowd.mu.Unlock()
		return s.crowd.strangers == 2
	})
	expectEnd(t, s.dial(t))
}

func TestStreamProxyHeader(t *testing.T) {
	listed := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x9c\x40\x00\x35"
	local := "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	tests := []struct {
		name   string
		header string
		from   []netip.Prefix
		client string // "": refused
	}{
		{"version 1", "PROXY TCP4 192.0.2.7 192.0.2.53 40000 53\r\n", listed, "192.0.2.7:40000"},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::53 40000 53\r\n", listed, "[2001:db8::7]:40000"},
		{"version 2", v2, listed, "192.0.2.7:40000"},
		{"version 2, in its own name", local, listed, "self"},
		{"version 2, not listed", v2, nil, ""},
		{"version 1, not listed", "PROXY TCP4 192.0.2.7 192.0.2.53 40000 53\r\n", nil, ""},
		{"missing", "", listed, ""},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", listed, ""},
		{"version 1, without end", "PROXY TCP4 " + string(bytes.Repeat([]byte("1"), 200)), listed, ""},
		{"version 1, IPv4 in TCP6", "PROXY TCP6 192.0.2.7 192.0.2.53 40000 53\r\n", listed, ""},
		{"version 1, with a zone", "PROXY TCP6 fe80::1%eth0 fe80::2 40000 53\r\n", listed, ""},
		{"version 1, bad port", "PROXY TCP4 192.0.2.7 192.0.2.53 65536 53\r\n", listed, ""},
		{"version 1, half a line", "PROXY TCP4 192.0.2.7\r\n", listed, ""},
		{"version 2, too long", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff", listed, ""},
		{"version 2, cut short", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x03\x00", listed, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := serveStreams(t, streamSetup{proxyFrom: test.from})
			conn := s.dial(t)
			sendAll(t, conn, append([]byte(test.header), framesOf(packQuestion(t, 1, "now.example"))...))
			if test.client == "" {
				_ = conn.CloseWrite()
				expectEnd(t, conn)
				if n := s.shed.of(ShedProxyHeader); test.from != nil && n != 1 {
					t.Errorf("%d shed", n)
				}
				return
			}
			receiveFrame(t, conn)
			want := test.client
			if want == "self" {
				want = conn.LocalAddr().String()
			}
			if got := s.door.last(t).Client.String(); got != want {
				t.Errorf("the door saw %s, want %s", got, want)
			}
		})
	}
}

func FuzzProxyStream(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 192.0.2.53 40000 53\r\nrest"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x9c\x40\x00\x35rest"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		client, err := readProxyHeader(r)
		if err != nil {
			if client.IsValid() {
				t.Errorf("client %v in spite of %v", client, err)
			}
			return
		}
		read := data[:len(data)-r.Len()]
		if len(read) > maxProxyHeader {
			t.Errorf("a header of %d bytes", len(read))
		}
		if bytes.HasPrefix(read, []byte(proxyLineBegin)) && !bytes.HasSuffix(read, []byte("\r\n")) {
			t.Errorf("the line %q has no end", read)
		}
		if client.IsValid() && (client.Addr().Is4In6() || client.Addr().Zone() != "") {
			t.Errorf("client %v is not plain", client)
		}
	})
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
