//go:build linux

package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/bench/proxy/events"
	"github.com/sallyport/sallyport/bench/proxy/plan"
)

// serve has every connection answered by a func, until the test ends.
func serve(t *testing.T, answer func(net.Conn)) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answer(conn)
			}()
		}
	}()
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// try has a drill done until so many tries have come to something.
func try(t *testing.T, d drill, tries int) report {
	t.Helper()
	loop, err := events.NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{loop: loop, drill: d, slots: make([]slot, 1)}
	if err := e.begin(0, time.Now()); err != nil {
		t.Fatal(err)
	}
	for int(e.report.n)+e.report.failed < tries {
		ready, err := loop.Wait(patience)
		if err != nil || len(ready) == 0 {
			t.Fatalf("nothing happens: %v; so far %v", err, e.report)
		}
		for _, i := range ready {
			if err := e.advance(int(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	events.Reset(e.slots[0].fd)
	return e.report
}

// answering reads requests, and answers each with a text until that is empty.
func answering(text func(int) string) func(net.Conn) {
	var asked atomic.Int64
	return func(conn net.Conn) {
		for reader := bufio.NewReader(conn); ; {
			if _, err := http.ReadRequest(reader); err != nil {
				return
			}
			answer := text(int(asked.Add(1)))
			if _, err := io.WriteString(conn, answer); err != nil || answer == "" {
				return
			}
		}
	}
}

func always(text string) func(net.Conn) { return answering(func(int) string { return text }) }

const opened = "HTTP/1.1 200 OK\r\n\r\n"

// tunnelling opens a tunnel that changes what comes back.
func tunnelling(change func(byte) []byte) func(net.Conn) {
	return func(conn net.Conn) {
		reader := bufio.NewReader(conn)
		if _, err := http.ReadRequest(reader); err != nil {
			return
		}
		if _, err := io.WriteString(conn, opened); err != nil {
			return
		}
		if b, err := reader.ReadByte(); err == nil {
			_, _ = conn.Write(change(b))
		}
	}
}

const denied = "HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\n"

func TestAnswersAreLookedAt(t *testing.T) {
	good := string(plan.Head) + string(plan.Body)
	connecting := func(at netip.AddrPort) drill { return &connecting{to: at, request: connectTo("x:1")} }
	refusing := func(at netip.AddrPort) drill { return &refusing{to: at, names: []string{"a.example"}} }
	getting := func(at netip.AddrPort) drill { return newGetting(settings{proxy: at, backend: at}) }
	for _, test := range []struct {
		name   string
		drill  func(netip.AddrPort) drill
		server func(net.Conn)
		want   string // "": it went well
	}{
		{"tunnel", connecting, tunnelling(func(b byte) []byte { return []byte{b} }), ""},
		{"another byte", connecting, tunnelling(func(b byte) []byte { return []byte{b ^ 1} }), "came back as"},
		{"two bytes", connecting, tunnelling(func(b byte) []byte { return []byte{b, b} }), "came back as"},
		{"no byte", connecting, tunnelling(func(byte) []byte { return nil }), "unexpected EOF"},
		{"byte too early", connecting, always(opened + "x"), "1 bytes"},
		{"refused tunnel", connecting, always(denied + "page"), "status 403"},
		{"no HTTP", connecting, always("SSH-2.0-x\r\n\r\n12345"), "not the head"},
		{"refusal", refusing, always(denied + "page"), ""},
		{"refusal that ends with its connection", refusing, func(conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, "HTTP/1.0 403 No\r\n\r\npage")
		}, ""},
		{"no refusal", refusing, always(opened), "status 200"},
		{"half a page", refusing, func(conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, denied+"pa")
		}, "unexpected EOF"},
		{"more than a page", refusing, always(denied + "pages"), "5 bytes"},
		{"no page", refusing, always("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), "page of 0 bytes"},
		{"GET", getting, always(good), ""},
		{"GET, closed behind each", getting, answering(func(n int) string { return strings.Repeat(good, n%2) }), ""},
		{"another page", getting, always(strings.Replace(good, "0123", "0124", 1)), "page"},
		{"another length", getting, always("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345"), "5 bytes announced"},
		{"an error", getting, always("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), "status 502"},
	} {
		t.Run(test.name, func(t *testing.T) {
			const tries = 5
			r := try(t, test.drill(serve(t, test.server)), tries)
			if test.want == "" {
				if r.n < tries || r.failed > 0 || len(r.took) != int(r.n) {
					t.Errorf("%v", r)
				}
				return
			}
			if r.n > 0 || r.failed < tries || !strings.Contains(r.why, test.want) {
				t.Errorf("%v, want %q", r, test.want)
			}
			if gone := strings.Contains(test.want, "EOF"); gone == (r.wrong > 0) {
				t.Errorf("%d are said to be wrong: %v", r.wrong, r)
			}
		})
	}
}

// pour sends the stream up to an offset, changed on its way.
func pour(until int, change func(offset int, piece []byte) []byte) func(net.Conn) {
	return func(conn net.Conn) {
		piece := make([]byte, 64<<10)
		for offset := 0; offset < until; offset += len(piece) {
			plan.Fill(piece, int64(offset))
			if _, err := conn.Write(change(offset, piece)); err != nil {
				return
			}
		}
	}
}

func TestStreamIsLookedAt(t *testing.T) {
	const until = 2 * skipBytes
	for _, test := range []struct {
		name   string
		change func(int, []byte) []byte
		wrong  bool
	}{
		{"whole", func(_ int, piece []byte) []byte { return piece }, false},
		{"a byte changed", func(offset int, piece []byte) []byte {
			if offset == 0 {
				piece[4711] ^= 0x20
			}
			return piece
		}, true},
		{"a byte lost where nobody looks", func(offset int, piece []byte) []byte {
			if offset == 1<<20 {
				return piece[1:]
			}
			return piece
		}, true},
		{"a piece twice", func(offset int, piece []byte) []byte {
			if offset == 1<<20 {
				return append(piece, piece...)
			}
			return piece
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, err := dial(serve(t, pour(until, test.change)))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			f := flow{conn: conn}
			var total atomic.Int64
			err = f.drink(&total) // until the stream is over, which is an error too
			if errors.Is(err, errWrong) != test.wrong || err == nil {
				t.Errorf("after %d bytes: %v", total.Load(), err)
			}
		})
	}
}

func TestReport(t *testing.T) {
	r := report{rate: 2.5, n: 3, took: []time.Duration{3000, 1000, 2000}, more: "descriptors=2.00"}
	r.note(errors.New("it's\nodd"))
	if got, want := r.String(), "rate=2.500 n=3 failed=1 wrong=0 p50=2.0 p99=2.0 descriptors=2.00 why='it.s.odd'"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
