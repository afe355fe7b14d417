package ingress

import (
	"bytes"
	"net/netip"
	"testing"
)

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

// PROXY headers of version 2, for packets.
const (
	header4     = "\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x30\x39\x00\x35" // 192.0.2.7:12345
	header4Long = "\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\xc8\xc0\x00\x02\x07\xc6\x33\x64\x01\x30\x39\x00\x35" // longer than it is
	headerLocal = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	header6     = "\r\n\r\n\x00\r\nQUIT\n\x21\x22\x00\x24" + // [2001:db8::7]:12345
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x53" + "\x30\x39\x00\x35"
)
