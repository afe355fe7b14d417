package proxyheader

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// header joins the parts of a PROXY header; the length is given, so that tests
// can lie about it.
func header(versionCommand, family byte, length int, rest ...byte) []byte {
	b := append([]byte(signature), versionCommand, family, byte(length>>8), byte(length))
	return append(b, rest...)
}

var (
	addresses4 = []byte{192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0, 53}
	addresses6 = append(append(
		netip.MustParseAddr("2001:db8::7").AsSlice(),
		netip.MustParseAddr("2001:db8::53").AsSlice()...), 0x30, 0x39, 0, 53)
	addresses4in6 = append(append(
		netip.MustParseAddr("::ffff:192.0.2.7").AsSlice(),
		netip.MustParseAddr("::ffff:198.51.100.1").AsSlice()...), 0x30, 0x39, 0, 53)
	noTLVs = []byte{0x04, 0, 3, 'a', 'b', 'c'} // one of type NOOP
)

func TestParse(t *testing.T) {
	query := "query"
	tests := []struct {
		name   string
		in     []byte
		client string // "" for none
		err    string
		short  bool
	}{
		{name: "udp over v4", in: header(0x21, 0x12, 12, addresses4...), client: "192.0.2.7:12345"},
		{name: "tcp over v4", in: header(0x21, 0x11, 12, addresses4...), client: "192.0.2.7:12345"},
		{name: "udp over v6", in: header(0x21, 0x22, 36, addresses6...), client: "[2001:db8::7]:12345"},
		{name: "tcp over v6", in: header(0x21, 0x21, 36, addresses6...), client: "[2001:db8::7]:12345"},
		{name: "v4 in v6", in: header(0x21, 0x22, 36, addresses4in6...), client: "192.0.2.7:12345"},
		{name: "with TLVs", in: header(0x21, 0x12, 18, append(bytes.Clone(addresses4), noTLVs...)...), client: "192.0.2.7:12345"},
		{name: "local without addresses", in: header(0x20, 0, 0)},
		{name: "local with addresses", in: header(0x20, 0x12, 12, addresses4...)},
		{name: "local of a family unheard of", in: header(0x20, 0x77, 3, 1, 2, 3)},

		{name: "no family", in: header(0x21, 0, 0), err: "no IP address"},
		{name: "unix socket", in: header(0x21, 0x31, 216, make([]byte, 216)...), err: "no IP address"},
		{name: "family unheard of", in: header(0x21, 0x13, 12, addresses4...), err: "0x13"},
		{name: "version 1", in: []byte("PROXY UDP4 192.0.2.7 198.51.100.1 12345 53\r\n"), err: "not how one of version 2 begins"},
		{name: "version 3", in: header(0x31, 0x12, 12, addresses4...), err: "0x31"},
		{name: "command unheard of", in: header(0x22, 0x12, 12, addresses4...), err: "0x22"},
		{name: "v4 addresses do not fit", in: header(0x21, 0x12, 11, addresses4...), err: "no room"},
		{name: "v6 addresses do not fit", in: header(0x21, 0x22, 35, addresses6...), err: "no room"},
		{name: "too long", in: header(0x21, 0x12, maxBytes, make([]byte, maxBytes)...), err: "the most is 1024"},
		{name: "signature broken at its end", in: append([]byte(signature[:11]), 0, 0x21, 0x12, 0, 0), err: "begins"},
		{name: "nothing", in: nil, err: "ends early", short: true},
		{name: "half a signature", in: []byte(signature[:6]), err: "ends early", short: true},
		{name: "no length", in: []byte(signature + "\x21\x12\x00"), err: "ends early", short: true},
		{name: "addresses cut off", in: header(0x21, 0x12, 12, addresses4[:11]...), err: "ends early", short: true},
		{name: "TLVs cut off", in: header(0x21, 0x12, 18, append(bytes.Clone(addresses4), 4, 0)...), err: "ends early", short: true},
		{name: "local cut off", in: header(0x20, 0, 5, 1, 2), err: "ends early", short: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := tt.in
			if tt.err == "" {
				in = append(bytes.Clone(in), query...)
			}
			client, n, err := Parse(in)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				if errors.Is(err, errShort) != tt.short {
					t.Errorf("%v: is it short? %v, want %v", err, !tt.short, tt.short)
				}
				if n != 0 || client.IsValid() {
					t.Errorf("%d bytes and client %v in spite of the error", n, client)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if rest := string(in[n:]); rest != query {
				t.Errorf("the header leaves %q, want %q", rest, query)
			}
			var want netip.AddrPort
			if tt.client != "" {
				want = netip.MustParseAddrPort(tt.client)
			}
			if client != want {
				t.Errorf("client %v, want %v", client, want)
			}
		})
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	in := header(0x21, 0x22, 36, addresses6...)
	allocations := testing.AllocsPerRun(100, func() {
		if _, _, err := Parse(in); err != nil {
			t.Fatal(err)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations a header", allocations)
	}
}

// FuzzParse compares with go-proxyproto: whatever we take, it takes and
// reads alike, and whatever it takes that we do not is one of the kinds that
// we refuse on purpose.
func FuzzParse(f *testing.F) {
	f.Add(header(0x21, 0x12, 12, addresses4...))
	f.Add(header(0x21, 0x22, 36, addresses6...))
	f.Add(header(0x21, 0x22, 36, addresses4in6...))
	f.Add(header(0x21, 0x12, 18, append(bytes.Clone(addresses4), noTLVs...)...))
	f.Add(header(0x21, 0x31, 216, make([]byte, 216)...))
	f.Add(header(0x20, 0, 0))
	f.Add(header(0x20, 0x12, 5, 1, 2, 3, 4, 5))
	f.Add(header(0x22, 0x12, 12, addresses4...))
	f.Add([]byte(signature))
	f.Fuzz(func(t *testing.T, in []byte) {
		client, n, err := Parse(in)
		r := bytes.NewReader(in)
		buffered := bufio.NewReaderSize(r, 4096)
		theirs, theirErr := proxyproto.Read(buffered)
		if err != nil {
			if client.IsValid() || n != 0 {
				t.Fatalf("%v, %d bytes in spite of %v", client, n, err)
			}
			if theirErr == nil && !refusedOnPurpose(in, theirs) {
				t.Fatalf("we say %v, go-proxyproto reads %+v", err, theirs)
			}
			return
		}
		if n < prefixBytes || n > len(in) || n > maxBytes {
			t.Fatalf("a header of %d bytes in %d", n, len(in))
		}
		if in[12] == 0x20 {
			if client.IsValid() {
				t.Fatalf("a LOCAL header names %v", client)
			}
			return // families unheard of are the referee's error and not ours
		}
		if theirErr != nil {
			t.Fatalf("we read %v, go-proxyproto says %v", client, theirErr)
		}
		if taken := len(in) - r.Len() - buffered.Buffered(); taken != n {
			t.Fatalf("%d bytes, go-proxyproto takes %d", n, taken)
		}
		if want := addrPort(theirs.SourceAddr); client != want {
			t.Fatalf("client %v, go-proxyproto says %v", client, want)
		}
	})
}

// refusedOnPurpose is what go-proxyproto takes and we do not: version 1, no IP
// address, over 1024 bytes.
func refusedOnPurpose(in []byte, h *proxyproto.Header) bool {
	return h.Version == 1 || !addrPort(h.SourceAddr).IsValid() && !h.Command.IsLocal() ||
		prefixBytes+int(in[14])<<8+int(in[15]) > maxBytes
}

func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
