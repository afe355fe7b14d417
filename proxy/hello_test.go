package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// clientHello is what crypto/tls sends first.
func clientHello(t testing.TB, serverName string, protocols ...string) []byte {
	t.Helper()
	return firstFlight(t, &tls.Config{ServerName: serverName, InsecureSkipVerify: true, NextProtos: protocols})
}

// firstFlight is what a TLS client sends first.
func firstFlight(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer there.Close()
	go func() {
		defer here.Close()
		_ = tls.Client(here, config).Handshake()
	}()
	header := make([]byte, 5)
	if _, err := io.ReadFull(there, header); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(header[3])<<8|int(header[4]))
	if _, err := io.ReadFull(there, body); err != nil {
		t.Fatal(err)
	}
	return append(header, body...)
}

// fragment splits a one-record hello into records of at most size bytes.
func fragment(hello []byte, size int) []byte {
	var b []byte
	for piece := range slices.Chunk(hello[5:], size) {
		b = append(b, 22, 3, 1, byte(len(piece)>>8), byte(len(piece)))
		b = append(b, piece...)
	}
	return b
}

// helloWithName is a hello whose server name is replaced by raw bytes of any
// kind.
func helloWithName(t testing.TB, raw string) []byte {
	t.Helper()
	plain := strings.Repeat("x", len(raw)-3) + ".yz"
	hello := clientHello(t, plain)
	if !bytes.Contains(hello, []byte(plain)) {
		t.Fatal("the hello does not hold its server name")
	}
	return bytes.Replace(hello, []byte(plain), []byte(raw), 1)
}

// twoNames is a hello with two names in its server_name extension.
func twoNames() []byte {
	name := func(n string) []byte { return append([]byte{0, 0, byte(len(n))}, n...) }
	list := append(name("innocent.example"), name("zoom.us")...)
	extension := append([]byte{0, 0, 0, byte(len(list) + 2), 0, byte(len(list))}, list...)
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0, 0, 2, 0x13, 1, 1, 0, 0, byte(len(extension)))
	body = append(body, extension...)
	message := append([]byte{1, 0, 0, byte(len(body))}, body...)
	return append([]byte{22, 3, 1, 0, byte(len(message))}, message...)
}

func TestHelloReader(t *testing.T) {
	hello := clientHello(t, "us04web.zoom.us", "h2", "http/1.1")
	old := []byte{22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1}
	old = append(old, make([]byte, 32)...)
	old = append(old, 0, 0, 2, 0, 47, 1, 0)
	tests := []struct {
		name  string
		data  []byte
		state helloState
		names []string
	}{
		{"nothing", nil, helloPartial, nil},
		{"whole", hello, helloComplete, []string{"us04web.zoom.us"}},
		{"whole and more", append(slices.Clone(hello), "early"...), helloComplete, []string{"us04web.zoom.us"}},
		{"records of 1", fragment(hello, 1), helloComplete, []string{"us04web.zoom.us"}},
		{"records of 100", fragment(hello, 100), helloComplete, []string{"us04web.zoom.us"}},
		{"no name", clientHello(t, ""), helloComplete, nil},
		{"no extensions", old, helloComplete, nil},
		{"two names", twoNames(), helloBroken, nil},
		{"version 2.1", append([]byte{22, 2, 1}, hello[3:]...), helloComplete, []string{"us04web.zoom.us"}},
		{"version 0.1", append([]byte{22, 0, 1}, hello[3:]...), helloComplete, []string{"us04web.zoom.us"}},
		{"version 4.1", append([]byte{22, 4, 1}, hello[3:]...), helloComplete, []string{"us04web.zoom.us"}},
		{"alert first", append([]byte{21, 3, 1, 0, 2, 1, 90}, hello...), helloBroken, nil},
		{"alert of an old version first", append([]byte{21, 2, 1, 0, 2, 1, 90}, hello...), helloBroken, nil},
		{"change cipher spec first", append([]byte{20, 3, 1, 0, 1, 1}, hello...), helloBroken, nil},
		{"application data first", []byte{23, 3, 3, 0, 1, 0}, helloBroken, nil},
		{"half an alert", []byte{21}, helloPartial, nil},
		{"21 and something", []byte{21, 'x'}, helloForeign, nil},
		{"one byte", hello[:1], helloPartial, nil},
		{"a byte short", hello[:len(hello)-1], helloPartial, nil},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), helloComplete, nil},
		{"HTTP with a host", []byte("\r\nGET / HTTP/1.1\r\nAccept: */*\r\nhost : zoom.us:80\r\n\r\nmore"), helloComplete, []string{"zoom.us"}},
		{"HTTP with bare line feeds", []byte("POST / HTTP/1.0\nHost: a.example\nHost: b.example\n\n"), helloComplete, []string{"a.example", "b.example"}},
		{"HTTP with a whole URI", []byte("GET http://u@zoom.us:80/x HTTP/1.1\r\nHost: a.example\r\n\r\n"), helloComplete, []string{"zoom.us", "a.example"}},
		{"HTTP through another proxy", []byte("CONNECT zoom.us:443 HTTP/1.1\r\n\r\n"), helloComplete, []string{"zoom.us"}},
		{"HTTP with a folded host", []byte("GET / HTTP/1.1\r\nHost:\r\n zoom.us\r\n\r\n"), helloComplete, []string{""}},
		{"HTTP with many hosts", []byte("GET / HTTP/1.1\r\n" + strings.Repeat("Host: a.example\r\n", 5)), helloBroken, []string{"a.example", "a.example", "a.example", "a.example"}},
		{"HTTP with a long line", []byte("GET /" + strings.Repeat("x", maxClearLine)), helloBroken, nil},
		{"half a request", []byte("GET / HT"), helloPartial, nil},
		{"half a method", []byte("GE"), helloPartial, nil},
		{"a sentence", []byte("hello there\r\n"), helloForeign, nil},
		{"HTTP/2 preface", []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), helloForeign, nil},
		{"SMTP", []byte("EHLO me.example\r\n"), helloForeign, nil},
		{"bytes", []byte{0, 1, 2, 3}, helloForeign, nil},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.9\r\n"), helloForeign, nil},
		{"SSLv2 hello", []byte{0x80, 46, 1, 3, 1}, helloForeign, nil},
		{"22 and something", []byte{22, 'x'}, helloPartial, nil},
		{"server hello", []byte{22, 3, 3, 0, 4, 2, 0, 0, 0}, helloBroken, nil},
		{"empty record", []byte{22, 3, 1, 0, 0}, helloBroken, nil},
		{"huge record", []byte{22, 3, 1, 0x49, 0}, helloBroken, nil},
		{"huge message", []byte{22, 3, 1, 0, 4, 1, 1, 0, 1}, helloBroken, nil},
		{"other record inside", append(fragment(hello, 100)[:105], 23, 3, 3, 0, 1, 0), helloBroken, nil},
		{"truncated extension", func() []byte {
			b := slices.Clone(twoNames())
			b[len(b)-len("zoom.us")-1] = 200
			return b
		}(), helloBroken, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var h helloReader
			if state := h.feed(test.data); state != test.state {
				t.Fatalf("state %d, want %d", state, test.state)
			}
			if !slices.Equal(h.names, test.names) {
				t.Errorf("names %q, want %q", h.names, test.names)
			}
			if !bytes.Equal(h.raw, test.data) {
				t.Error("bytes were lost")
			}
		})
	}
}

// However a stream is cut, the outcome is the same and no byte is lost.
func FuzzPeekClientHello(f *testing.F) {
	hello := clientHello(f, "us04web.zoom.us", "h2")
	for _, seed := range [][]byte{
		nil, hello, hello[:60], fragment(hello, 1), fragment(hello, 33), clientHello(f, ""), twoNames(),
		[]byte("GET / HTTP/1.1\r\n\r\n"), {22}, {22, 3, 1, 0, 0}, {22, 3, 1, 0xff, 0xff},
	} {
		f.Add(seed, uint8(1))
		f.Add(seed, uint8(200))
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		var whole, cut helloReader
		want := whole.feed(data)
		got := helloPartial
		for piece := range slices.Chunk(data, int(size)+1) {
			if got = cut.feed(piece); got != helloPartial {
				break
			}
		}
		if want != got {
			// A stream that is too long may be given up at another point.
			if len(data) < maxHelloBytes {
				t.Fatalf("whole: %d, in pieces of %d: %d", want, int(size)+1, got)
			}
			return
		}
		if !bytes.HasPrefix(data, cut.raw) {
			t.Fatal("bytes were changed")
		}
		if want == helloComplete && !slices.Equal(whole.names, cut.names) {
			t.Fatalf("names %q and %q", whole.names, cut.names)
		}
		if len(whole.message) > len(data) {
			t.Fatalf("a message of %d bytes out of %d", len(whole.message), len(data))
		}
	})
}

// Who sends the first letters of a request, or an empty line, and waits, does
// not get the rest past the policy.
func TestHalfARequestIsNotWaitedPast(t *testing.T) {
	where := origin(t, echoing)
	for _, start := range []string{"G", "GE", "\r\n", "GET ", "GET / HTTP/1.1\r\nHo", "\x16", "\x16\x03"} {
		d := open(t, func(c *Config, _ *Dependencies) { c.Timeouts.FirstByte = 50 * time.Millisecond })
		c := d.tunnel(where.String())
		c.send(start)
		if got := c.rest(); strings.Contains(got, start) {
			t.Errorf("%q: came back as %q", start, got)
		}
		if verdict := d.lastVerdict(); verdict.RuleName() != ruleClientHello {
			t.Errorf("%q: %+v", start, verdict)
		}
	}
}
