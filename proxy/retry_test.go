package proxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// tlsRecord is one record.
func tlsRecord(kind byte, body string) string {
	return string([]byte{kind, 3, 3, byte(len(body) >> 8), byte(len(body))}) + body
}

// TestRetryReader feeds what may follow a ClientHello, in pieces of all kinds of
// sizes: what goes on, and what is refused, must not depend on them.
func TestRetryReader(t *testing.T) {
	const name = "example.com"
	same, other := string(clientHello(t, name)), string(clientHello(t, "zoom.us"))
	ccs, alert := tlsRecord(recordChangeCipherSpec, "\x01"), tlsRecord(21, "\x01\x00")
	data := tlsRecord(recordApplicationData, strings.Repeat("x", 100))
	for _, test := range []struct {
		what  string
		early bool
		sent  string
		want  retryState
	}{
		{"encrypted at once", false, data + data, retryOver},
		{"as TLS 1.3 goes on", false, ccs + data, retryOver},
		{"as TLS 1.2 goes on", false, tlsRecord(recordHandshake, "\x10\x00\x00\x21more") + ccs, retryOver},
		{"resumed TLS 1.2", false, ccs + tlsRecord(recordHandshake, strings.Repeat("\x00", 40)) + data, retryOver},
		{"the same that begins as a hello would", false, ccs + tlsRecord(recordHandshake, "\x01\x02"+strings.Repeat("\x00", 40)) + data, retryOver},
		{"no TLS", false, "GET / HTTP/1.1\r\n\r\n", retryOver},
		{"a record that is too long", false, "\x16\x03\x03\xff\xff", retryOver},
		{"only the beginning", false, ccs, retryOpen},
		{"the same name", false, ccs + same, retryReadable},
		{"the same name, and more", false, ccs + same + data, retryReadable},
		{"another name", false, ccs + other, retryRefused},
		{"another name at once", false, other, retryRefused},
		{"another name behind an empty record", false, tlsRecord(recordHandshake, "") + other, retryRefused},
		{"another name in many records", false, ccs + string(fragment([]byte(other), 1)), retryRefused},
		{"another name behind an alert", false, alert + other, retryRefused},
		{"an alert inside", false, string(fragment([]byte(other), 20)[:25]) + alert + string(fragment([]byte(other), 20)[25:]), retryRefused},
		{"early data, and on", true, data + ccs + data, retryOpen},
		{"early data, and another name", true, data + ccs + other, retryRefused},
		{"early data, and the same name", true, data + ccs + same, retryReadable},
		{"early data without an end", true, strings.Repeat(tlsRecord(recordApplicationData, strings.Repeat("x", 1<<14)), 6), retryOver},
		{"data that was not announced, and another name", false, data + other, retryOver},
		{"two hellos in one record", false, tlsRecord(recordHandshake, same[5:]+same[5:]), retryRefused},
		{"a hello that is too long", false, tlsRecord(recordHandshake, "\x01\x01\xff\xff"), retryRefused},
		{"a broken hello", false, tlsRecord(recordHandshake, "\x01\x00\x00\x01x"), retryRefused},
	} {
		for _, size := range []int{1, 3, 7, 100, 1 << 20} {
			r := &retryReader{names: []string{name}, early: test.early}
			var went []byte
			state, fed := retryOpen, 0
			for piece := range slices.Chunk([]byte(test.sent), size) {
				var forward []byte
				forward, state = r.feed(piece)
				went, fed = append(went, forward...), fed+len(piece)
				if state != retryOpen {
					break
				}
			}
			if state != test.want {
				t.Errorf("%s, %d at a time: %d, want %d", test.what, size, state, test.want)
			}
			switch {
			case state == retryRefused && bytes.Contains(went, []byte("zoom")):
				t.Errorf("%s, %d at a time: the refused hello went on", test.what, size)
			case (state == retryOver || state == retryReadable) && string(went) != test.sent[:fed]:
				t.Errorf("%s, %d at a time: %d bytes went on, of %d", test.what, size, len(went), fed)
			}
		}
	}
}

// TestRetriedHandshake has a server ask for a second hello, as those do that
// want another group than the client has guessed.
func TestRetriedHandshake(t *testing.T) {
	d := open(t, nil)
	server, where := secureOrigin(t, http.NotFoundHandler())
	server.TLS.CurvePreferences = []tls.CurveID{tls.CurveP256}
	d.name("example.com", "127.0.0.1")
	session := tls.Client(d.tunnel(at(where.Port(), "example.com")), &tls.Config{
		ServerName: "example.com", InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256},
	})
	if err := session.Handshake(); err != nil {
		t.Fatal(err)
	}
	if !session.ConnectionState().HelloRetryRequest {
		t.Fatal("the server has asked for nothing")
	}
	if _, err := io.WriteString(session, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(session); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 404")) {
		t.Errorf("got %q, %v", answer, err)
	}
}

// TestSecondHelloIsJudged shows an allowed name first, and another one when the
// server has answered, or at once.
func TestSecondHelloIsJudged(t *testing.T) {
	first, second := clientHello(t, "example.com"), clientHello(t, "zoom.us")
	for name, answer := range map[string]string{"after an answer": "hello retry request", "at once": ""} {
		t.Run(name, func(t *testing.T) {
			d := open(t, nil)
			got := make(chan string, 1)
			where := origin(t, func(conn *net.TCPConn) {
				_, _ = io.WriteString(conn, answer)
				data, _ := io.ReadAll(conn)
				got <- string(data)
			})
			d.name("example.com", "127.0.0.1")
			c := d.tunnel(at(where.Port(), "example.com"))
			if answer == "" {
				_, _ = c.Write(append(bytes.Clone(first), second...))
			} else {
				_, _ = c.Write(first)
				if _, err := io.ReadFull(c, make([]byte, len(answer))); err != nil {
					t.Fatal(err)
				}
				_, _ = c.Write(second)
			}
			_ = c.rest()
			if arrived := <-got; strings.Contains(arrived, "zoom.us") {
				t.Error("the second hello arrived")
			}
			decisions, ends := d.await(2, 1)
			refusal := decisions[1].Verdict
			if refusal.Action != policy.ActionBlock || refusal.RuleName() != ruleClientHello || ends[0].Rule != ruleClientHello {
				t.Errorf("rules %q, %q", refusal.RuleName(), ends[0].Rule)
			}
		})
	}
}

// FuzzRetryReader feeds anything at once and in pieces: the outcome is the same,
// and what goes on is what came, in order.
func FuzzRetryReader(f *testing.F) {
	hello := clientHello(f, "zoom.us")
	ccs := tlsRecord(recordChangeCipherSpec, "\x01")
	f.Add([]byte(ccs+string(hello)), uint8(1), false)
	f.Add([]byte(tlsRecord(recordApplicationData, "early")+string(fragment(hello, 9))), uint8(5), true)
	f.Add([]byte(tlsRecord(recordHandshake, "\x10\x00\x00\x01x")), uint8(3), false)
	f.Fuzz(func(t *testing.T, data []byte, size uint8, early bool) {
		if len(data) > maxHelloBytes {
			t.Skip("more than is ever held")
		}
		whole := &retryReader{names: []string{"example.com"}, early: early}
		_, want := whole.feed(data)
		cut := &retryReader{names: []string{"example.com"}, early: early}
		var went []byte
		state := retryOpen
		for piece := range slices.Chunk(data, int(size)+1) {
			var forward []byte
			forward, state = cut.feed(piece)
			if went = append(went, forward...); state != retryOpen {
				break
			}
		}
		if state != want {
			t.Fatalf("%d in pieces, %d at once", state, want)
		}
		if !bytes.HasPrefix(data, went) {
			t.Fatal("what went on is not what came")
		}
	})
}
