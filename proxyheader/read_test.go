package proxyheader

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRead(t *testing.T) {
	tests := []struct {
		name   string
		header string
		client string // "none": the proxy itself; "": an error
	}{
		{"version 1", "PROXY TCP4 192.0.2.7 192.0.2.53 40000 53\r\n", "192.0.2.7:40000"},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::53 40000 53\r\n", "[2001:db8::7]:40000"},
		{"version 1, IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::53 40000 53\r\n", "192.0.2.7:40000"},
		{"version 2", string(header(0x21, 0x11, 12, addresses4...)), "192.0.2.7:12345"},
		{"version 2, IPv6", string(header(0x21, 0x21, 36, addresses6...)), "[2001:db8::7]:12345"},
		{"version 2, in its own name", string(header(0x20, 0, 0)), "none"},

		{"nothing", "", ""},
		{"another protocol", "CONNECT example.com:443 HTTP/1.1\r\n\r\n", ""},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", ""},
		{"version 1, unknown with addresses", "PROXY UNKNOWN 192.0.2.7 192.0.2.53 40000 53\r\n", ""},
		{"version 1, over UDP", "PROXY UDP4 192.0.2.7 192.0.2.53 40000 53\r\n", ""},
		{"version 1, without end", "PROXY TCP4 " + strings.Repeat("1", 200), ""},
		{"version 1, of 108 bytes", "PROXY TCP4 " + strings.Repeat("1", 95) + "\r\n", ""},
		{"version 1, IPv4 in TCP6", "PROXY TCP6 192.0.2.7 192.0.2.53 40000 53\r\n", ""},
		{"version 1, with a zone", "PROXY TCP6 fe80::1%eth0 fe80::2 40000 53\r\n", ""},
		{"version 1, bad port", "PROXY TCP4 192.0.2.7 192.0.2.53 65536 53\r\n", ""},
		{"version 1, half a line", "PROXY TCP4 192.0.2.7\r\n", ""},
		{"version 1, cut short", "PROXY TCP4 192.0.2.7 192", ""},
		{"version 2, too long", string(header(0x21, 0x11, 0xffff)), ""},
		{"version 2, cut short", string(header(0x21, 0x11, 0x0300)), ""},
		{"version 2, cut in its length", string(header(0x21, 0x11, 0)[:15]), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for way, pace := range map[string]func(io.Reader) io.Reader{
				"at once": func(r io.Reader) io.Reader { return r }, "a byte at a time": iotest.OneByteReader,
			} {
				behind := "what follows"
				if test.client == "" {
					behind = ""
				}
				stream := strings.NewReader(test.header + behind)
				client, err := Read(pace(stream))
				switch {
				case test.client == "":
					if err == nil || client.IsValid() {
						t.Errorf("%s: %v, %v", way, client, err)
					}
					continue
				case err != nil:
					t.Fatalf("%s: %v", way, err)
				case test.client == "none" && client.IsValid(), test.client != "none" && client.String() != test.client:
					t.Errorf("%s: client %v, want %s", way, client, test.client)
				}
				if rest, _ := io.ReadAll(stream); string(rest) != behind {
					t.Errorf("%s: %q is left, want %q", way, rest, behind)
				}
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 192.0.2.53 40000 53\r\nrest"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add(append(header(0x21, 0x11, 12, addresses4...), "rest"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		client, err := Read(r)
		read := data[:len(data)-r.Len()]
		if len(read) > maxBytes {
			t.Errorf("%d bytes read", len(read))
		}
		if err != nil {
			if client.IsValid() {
				t.Errorf("client %v in spite of %v", client, err)
			}
			return
		}
		if bytes.HasPrefix(read, []byte(lineBegin)) && !bytes.HasSuffix(read, []byte("\r\n")) {
			t.Errorf("the line %q has no end", read)
		}
		if client.IsValid() && (client.Addr().Is4In6() || client.Addr().Zone() != "") {
			t.Errorf("client %v is not plain", client)
		}
	})
}
