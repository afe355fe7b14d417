package proxy

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestIdleWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var expired atomic.Int32
		w := newIdleWatch(time.Hour, func() { expired.Add(1) })
		defer w.stop()
		time.Sleep(59 * time.Minute)
		w.touch()
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if expired.Load() != 0 {
			t.Fatal("expired in spite of a touch")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if expired.Load() != 1 {
			t.Fatal("not expired after an hour of silence")
		}
		w.touch()
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if expired.Load() != 1 {
			t.Fatal("expired twice")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newIdleWatch(time.Minute, func() { t.Error("expired after stop") })
		w.stop()
		time.Sleep(time.Hour)
	})
}

// TestIdleWatchStopWaits: once stop has returned, nothing is cut any more. What
// comes next on the connection is somebody else's.
func TestIdleWatchStopWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var over atomic.Bool
		w := newIdleWatch(time.Minute, func() {
			time.Sleep(time.Second) // cuts
			over.Store(true)
		})
		time.Sleep(time.Minute)
		synctest.Wait() // it is at it
		w.stop()
		if !over.Load() {
			t.Error("stop has not waited for what was under way")
		}
		w.stop() // again: nothing to wait for
	})
}

// connectRequest is what net/http makes of the heads below.
var connectRequest = &http.Request{Method: http.MethodConnect, RequestURI: "a:1", Proto: "HTTP/1.1"}

func TestSentEarly(t *testing.T) {
	for _, test := range []struct {
		pieces []string
		early  bool
	}{
		{[]string{"CONNECT a:1 HTTP/1.1\r\n\r\n"}, false},
		{[]string{"CONNECT a:1 HTTP/1.1\r\n", "\r\n"}, false},
		{[]string{"CONNECT a:1 HTTP/1.1\r\n\r", "\n"}, false},
		{strings.Split("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", ""), false},
		{[]string{"CONNECT a:1 HTTP/1.1\r\n\r\nx"}, true},
		{[]string{"CONNECT a:1 HTTP/1.1\r\n\r\n", "x"}, true},
	} {
		here, there := tcpPair(t)
		c := &clientConn{Conn: there, tcp: there, heads: heads{limit: 1 << 10}}
		buffer := make([]byte, 100)
		for _, piece := range test.pieces {
			if _, err := here.Write([]byte(piece)); err != nil {
				t.Fatal(err)
			}
			for read := 0; read < len(piece); {
				n, err := c.Read(buffer)
				if err != nil {
					t.Fatal(err)
				}
				read += n
			}
		}
		if _, err := c.heads.next(connectRequest); err != nil {
			t.Fatal(err)
		}
		if got := c.sentEarly(); got != test.early {
			t.Errorf("%q: %v", test.pieces, got)
		}
	}
}

// Bytes that have arrived and were not read count as well.
func TestSentEarlyUnread(t *testing.T) {
	here, there := tcpPair(t)
	if waiting(there) != 0 {
		t.Fatal("bytes are waiting")
	}
	const whole = "CONNECT a:1 HTTP/1.1\r\n\r\n"
	_, _ = here.Write([]byte(whole))
	c := &clientConn{Conn: there, tcp: there, heads: heads{limit: 1 << 10}}
	if n, err := c.Read(make([]byte, 100)); n != len(whole) || err != nil {
		t.Fatal(n, err)
	}
	if _, err := c.heads.next(connectRequest); err != nil || c.sentEarly() {
		t.Fatalf("before anything was sent: %v", err)
	}
	_, _ = here.Write([]byte("more"))
	eventually(t, "the bytes have arrived", func() bool { return c.sentEarly() })
}

func TestRemoveHopByHop(t *testing.T) {
	h := http.Header{
		"Connection": {"close, x-one", " X-Two ,"}, "X-One": {"1"}, "X-Two": {"2"}, "X-Three": {"3"},
		"Te": {"trailers"}, "Upgrade": {"h2c"}, "Proxy-Authorization": {"Basic x"}, "Keep-Alive": {"1"}, "Authorization": {"Basic y"},
	}
	removeHopByHop(h)
	if len(h) != 2 || h.Get("X-Three") != "3" || h.Get("Authorization") != "Basic y" {
		t.Errorf("left: %v", h)
	}
}

func TestVia(t *testing.T) {
	h := http.Header{}
	addVia(h, 1, 0, "me")
	addVia(h, 1, 1, "you")
	if got := h.Get("Via"); got != "1.0 me, 1.1 you" {
		t.Errorf("got %q", got)
	}
	via := h.Get("Via")
	if !passedBefore(via, "me") || !passedBefore(via, "you") || passedBefore(via, "m") || passedBefore(",, 1.1", "me") {
		t.Error("pseudonyms are not told apart")
	}
	one, other := newPseudonym(), newPseudonym()
	if one == other {
		t.Error("two processes have one name")
	}
}

func TestQuoted(t *testing.T) {
	if got := quoted("a \"b\" \\ ü\r\n"); got != `"a \"b\" \\ ????"` {
		t.Errorf("got %s", got)
	}
}

func TestIdentifiersDiffer(t *testing.T) {
	ids := newIdentifiers()
	seen := map[string]bool{}
	for range 1000 {
		id := ids.next()
		if seen[id] || len(id) > 24 {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

func TestWaitingOnAClosedConnection(t *testing.T) {
	_, conn := tcpPair(t)
	_ = conn.Close()
	if n := waiting(conn); n != 0 {
		t.Errorf("%d bytes", n)
	}
}
