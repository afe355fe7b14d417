package proxy

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func TestParseSocksGreeting(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     socksGreeting
		n        int
		err      error
	}{
		{"no authentication", "\x05\x01\x00", socksGreeting{none: true}, 3, nil},
		{"a password", "\x05\x01\x02", socksGreeting{password: true}, 3, nil},
		{"both, and one unheard of", "\x05\x03\x00\x01\x02behind", socksGreeting{none: true, password: true}, 5, nil},
		{"neither", "\x05\x01\x01", socksGreeting{}, 3, nil},
		{"nothing", "\x05\x00", socksGreeting{}, 2, nil},
		{"all there are", "\x05\xff" + strings.Repeat("\x02", 255), socksGreeting{password: true}, 257, nil},
		{"empty", "", socksGreeting{}, 0, errSocksMore},
		{"version alone", "\x05", socksGreeting{}, 0, errSocksMore},
		{"cut short", "\x05\x02\x00", socksGreeting{}, 0, errSocksMore},
		{"SOCKS 4", "\x04\x01\x01\xbb\x7f\x00\x00\x01\x00", socksGreeting{}, 0, errSocksOld},
		{"HTTP", "CONNECT example.com:443 HTTP/1.1\r\n", socksGreeting{}, 0, errNotSocks},
		{"TLS", "\x16\x03\x01", socksGreeting{}, 0, errNotSocks},
	} {
		got, n, err := parseSocksGreeting([]byte(test.in))
		if got != test.want || n != test.n || !errors.Is(err, test.err) {
			t.Errorf("%s: %+v, %d, %v; want %+v, %d, %v", test.name, got, n, err, test.want, test.n, test.err)
		}
	}
}

func TestParseSocksPassword(t *testing.T) {
	long := strings.Repeat("u", 255)
	for _, test := range []struct {
		name, in, want string // want without the scheme
		n              int
		err            string
	}{
		{"both", "\x01\x05alice\x06secret", "alice:secret", 14, ""},
		{"what is behind is left", "\x01\x05alice\x06secret\x05\x01", "alice:secret", 14, ""},
		{"a password with a colon", "\x01\x05alice\x03a:b", "alice:a:b", 11, ""},
		{"no password", "\x01\x05alice\x00", "alice:", 8, ""},
		{"no user", "\x01\x00\x01x", ":x", 4, ""}, // for the one who checks to refuse
		{"the longest", "\x01\xff" + long + "\xff" + long, long + ":" + long, 513, ""},
		{"a user with a colon", "\x01\x03a:b\x01c", "", 7, "colon"},
		{"empty", "", "", 0, "not whole"},
		{"cut in the user", "\x01\x05ali", "", 0, "not whole"},
		{"cut behind the user", "\x01\x05alice", "", 0, "not whole"},
		{"cut in the password", "\x01\x05alice\x06sec", "", 0, "not whole"},
		{"another version", "\x05\x05alice\x06secret", "", 0, "not SOCKS"},
	} {
		basic, n, err := parseSocksPassword([]byte(test.in))
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) || basic != "" || n != test.n {
				t.Errorf("%s: %q, %d, %v; want an error with %q", test.name, basic, n, err, test.err)
			}
			continue
		}
		encoded, ok := strings.CutPrefix(basic, "Basic ")
		pair, decoding := base64.StdEncoding.DecodeString(encoded)
		if !ok || decoding != nil || string(pair) != test.want || n != test.n || err != nil {
			t.Errorf("%s: %q is %q, %d, %v; want %q", test.name, basic, pair, n, err, test.want)
		}
	}
}

func TestParseSocksRequest(t *testing.T) {
	name := strings.Repeat("a.", 126) + "b"
	for _, test := range []struct {
		name, in, host string
		port           uint16
		n              int
		reply          socksReply // of an error that the client is told
		err            error
	}{
		{name: "IPv4", in: "\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb", host: "127.0.0.1", port: 443, n: 10},
		{name: "IPv6", in: "\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50behind", host: "2001:db8::1", port: 80, n: 22},
		{name: "IPv4 in IPv6", in: "\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x7f\x00\x00\x01\x00\x50", host: "127.0.0.1", port: 80, n: 22},
		{name: "name", in: "\x05\x01\x00\x03\x0bExample.COM\x01\xbb", host: "example.com", port: 443, n: 18},
		{name: "a name that is an address", in: "\x05\x01\x00\x03\x0a0x7f.0.0.1\x01\xbb", host: "127.0.0.1", port: 443, n: 17},
		{name: "the longest name", in: "\x05\x01\x00\x03\xfd" + name + "\x01\xbb", host: name, port: 443, n: 260},

		{name: "an empty name", in: "\x05\x01\x00\x03\x00\x01\xbb", n: 7, reply: socksFailed},
		{name: "no name", in: "\x05\x01\x00\x03\x03a b\x01\xbb", n: 10, reply: socksFailed},
		{name: "a name with an end in it", in: "\x05\x01\x00\x03\x03a\x00b\x01\xbb", n: 10, reply: socksFailed},
		{name: "port 0", in: "\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00", n: 10, reply: socksFailed},
		{name: "BIND", in: "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", reply: socksNoCommand},
		{name: "UDP ASSOCIATE", in: "\x05\x03\x00\x03\x00\x00\x00", reply: socksNoCommand},
		{name: "an address type unheard of", in: "\x05\x01\x00\x02\x00\x00\x00\x00\x00", reply: socksNoAddressType},

		{name: "empty", err: errSocksMore},
		{name: "cut before the address", in: "\x05\x01\x00\x01", err: errSocksMore},
		{name: "cut in the address", in: "\x05\x01\x00\x01\x7f\x00", err: errSocksMore},
		{name: "cut in the name", in: "\x05\x01\x00\x03\x0bExample", err: errSocksMore},
		{name: "cut in the port", in: "\x05\x01\x00\x01\x7f\x00\x00\x01\x01", err: errSocksMore},
		{name: "another version", in: "\x04\x01\x00\x01\x7f\x00\x00\x01\x01\xbb", err: errNotSocks},
	} {
		host, port, n, err := parseSocksRequest([]byte(test.in))
		var unfit *socksError
		switch {
		case test.reply != 0:
			if !errors.As(err, &unfit) || unfit.reply != test.reply || port != 0 || n != test.n {
				t.Errorf("%s: %v, %d, %v; want reply %#x", test.name, host, n, err, test.reply)
			}
		case test.err != nil:
			if !errors.Is(err, test.err) || n != 0 {
				t.Errorf("%s: %v, %d, %v; want %v", test.name, host, n, err, test.err)
			}
		default:
			if err != nil || host.String() != test.host || port != test.port || n != test.n {
				t.Errorf("%s: %v, %d, %d, %v; want %s, %d, %d", test.name, host, port, n, err, test.host, test.port, test.n)
			}
		}
	}
}

// FuzzSocks reads whatever comes, whole and in its beginnings: a message is the
// same whether it comes at once or in pieces, is no longer than what there is
// nor than the buffer, and nothing behind it matters.
func FuzzSocks(f *testing.F) {
	for _, seed := range []string{
		"\x05\x02\x00\x02", "\x04\x01\x01\xbb\x7f\x00\x00\x01\x00", "\x01\x05alice\x06secret", "\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb",
		"\x05\x01\x00\x03\x0bexample.com\x01\xbbearly", "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x01\x00\x04" + strings.Repeat("\x00", 18),
	} {
		f.Add([]byte(seed))
	}
	parsers := map[string]func([]byte) (any, int, error){
		"greeting": func(b []byte) (any, int, error) { g, n, err := parseSocksGreeting(b); return g, n, err },
		"password": func(b []byte) (any, int, error) { basic, n, err := parseSocksPassword(b); return basic, n, err },
		"request": func(b []byte) (any, int, error) {
			host, port, n, err := parseSocksRequest(b)
			return [2]any{host, port}, n, err
		},
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, parse := range parsers {
			whole, n, err := parse(bytes.Clone(data))
			if n < 0 || n > len(data) || n > headBytes {
				t.Fatalf("%s: a message of %d bytes in %d", name, n, len(data))
			}
			if errors.Is(err, errSocksMore) {
				if len(data) >= 600 {
					t.Fatalf("%s: %d bytes are not enough", name, len(data))
				}
				continue
			}
			if err == nil && n == 0 {
				t.Fatalf("%s: a message of no bytes", name)
			}
			for cut := range data[:min(len(data), 600)] {
				part, m, partly := parse(data[:cut])
				switch {
				case errors.Is(partly, errSocksMore):
				case partly == nil && err == nil && m == n && part == whole:
				case partly != nil && err != nil && partly.Error() == err.Error():
				default:
					t.Fatalf("%s: %d of %d bytes are %v, %d, %v; all are %v, %d, %v", name, cut, len(data), part, m, partly, whole, n, err)
				}
			}
		}
	})
}
