package identity

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestParseBasic(t *testing.T) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, test := range []struct {
		name, header   string
		user, password string
		ok             bool
	}{
		{"plain", "Basic " + encode("alice:secret"), "alice", "secret", true},
		{"RFC 7617 example", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "aladdin", "open sesame", true},
		{"RFC 7617 UTF-8 example", "Basic dGVzdDoxMjPCow==", "test", "123£", true},
		{"scheme in any case", "bAsIc " + encode("a:b"), "a", "b", true},
		{"several spaces", "Basic   " + encode("a:b") + " ", "a", "b", true},
		{"colons in the password", "Basic " + encode("a:b:c:"), "a", "b:c:", true},
		{"empty password", "Basic " + encode("a:"), "a", "", true},
		{"capitals and accents", "Basic " + encode("ÉMILE:X"), "émile", "X", true},
		{"longest", "Basic " + encode(strings.Repeat("u", maxUser)+":"+strings.Repeat("p", maxPassword)),
			strings.Repeat("u", maxUser), strings.Repeat("p", maxPassword), true},

		{name: "nothing behind the scheme", header: "Basic"},
		{name: "empty", header: "Basic "},
		{name: "another scheme", header: "Bearer " + encode("a:b")},
		{name: "scheme as a prefix", header: "Basics " + encode("a:b")},
		{name: "no colon", header: "Basic " + encode("alice")},
		{name: "empty user", header: "Basic " + encode(":secret")},
		{name: "not base64", header: "Basic a:b"},
		{name: "padding missing", header: "Basic " + strings.TrimRight(encode("al:b"), "=") + "x"},
		{name: "line break", header: "Basic " + encode("a:b") + "\n"},
		{name: "line break within", header: "Basic YW\npi"},
		{name: "control character", header: "Basic " + encode("a\x00:b")},
		{name: "line break in the user", header: "Basic " + encode("a\nb:c")},
		{name: "not UTF-8", header: "Basic " + encode("\xff:b")},
		{name: "user too long", header: "Basic " + encode(strings.Repeat("u", maxUser+1)+":p")},
		{name: "password too long", header: "Basic " + encode("u:"+strings.Repeat("p", maxPassword+1))},
		{name: "far too long", header: "Basic " + encode("u:"+strings.Repeat("p", 1<<20))},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p pair
			err := p.parse(test.header)
			if (err == nil) != test.ok {
				t.Fatalf("error %v, want ok %v", err, test.ok)
			}
			if err != nil {
				if !errors.Is(err, ErrCredentials) {
					t.Errorf("error %v does not wrap ErrCredentials", err)
				}
				return
			}
			if p.user() != test.user || string(p.password()) != test.password {
				t.Errorf("got %q %q, want %q %q", p.user(), p.password(), test.user, test.password)
			}
		})
	}
}

// FuzzBasic holds the parser against net/http's: whatever it accepts, the
// standard library reads the same way.
func FuzzBasic(f *testing.F) {
	f.Add("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
	f.Add("basic dGVzdDoxMjPCow==")
	f.Add("Basic  YTpi ")
	f.Add("Basic YTpi\n")
	f.Add("Negotiate YII=")
	f.Add("Basic Og==")
	f.Add("Basic")
	f.Fuzz(func(t *testing.T, header string) {
		var p pair
		if err := p.parse(header); err != nil {
			if !errors.Is(err, ErrCredentials) {
				t.Fatalf("error %v does not wrap ErrCredentials", err)
			}
			return
		}
		scheme, rest, _ := strings.Cut(header, " ")
		r := http.Request{Header: http.Header{"Authorization": {scheme + " " + strings.Trim(rest, " ")}}}
		user, password, ok := r.BasicAuth()
		if !ok || strings.ToLower(user) != p.user() || password != string(p.password()) {
			t.Fatalf("read %q %q, net/http reads %q %q %v", p.user(), p.password(), user, password, ok)
		}
		if user == "" || len(user) > maxUser || len(password) > maxPassword {
			t.Fatalf("out of bounds: %q %q", user, password)
		}
	})
}
