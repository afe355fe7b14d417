package coaching

import (
	"encoding/base64"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

func host(t testing.TB, text string) policy.Host {
	t.Helper()
	h, err := policy.ParseHost(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// issued is when the tests' tickets are.
var issued = time.Unix(1_585_400_000, 0)

func fullTicket(t testing.TB) Ticket {
	return Ticket{
		User: "alice@corp.example", Client: netip.MustParseAddr("10.4.7.7"), Rule: "coach-the-rest", App: "jitsi",
		Door: policy.DoorProxy, Host: host(t, "vanity.example"), Port: 443, Fact: host(t, "meet.jit.si"),
		Decision: "k3f9x2ab-1a", Issued: issued, Expires: issued.Add(time.Hour),
	}
}

func tickets(t testing.TB) map[string]Ticket {
	full := fullTicket(t)
	bare := Ticket{Issued: issued, Expires: issued.Add(time.Second)}
	address := full
	address.User, address.Host, address.Fact, address.Client = "", host(t, "3.7.35.1"), host(t, "2620:123:2000::1"), netip.MustParseAddr("fd00:28::7")
	noApp := full
	noApp.App, noApp.Fact, noApp.Port, noApp.Door = "", policy.Host{}, 0, policy.DoorDNS
	long := full
	long.User, long.Rule, long.App = strings.Repeat("ü", maxUser/2), strings.Repeat("r", 64), strings.Repeat("a", 64)
	long.Decision = strings.Repeat("d", maxDecision)
	label := strings.Repeat("h", 61) + "."
	long.Host, long.Fact = host(t, strings.Repeat(label, 4)+"h"), host(t, strings.Repeat(label, 4)+"f")
	return map[string]Ticket{"full": full, "bare": bare, "address": address, "no app": noApp, "long": long}
}

func TestSealAndOpen(t *testing.T) {
	k := NewKey()
	for name, ticket := range tickets(t) {
		token, err := k.Seal(&ticket)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(token) > MaxToken || strings.Trim(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			t.Errorf("%s: token %q", name, token)
		}
		got, err := k.Open(token, ticket.Issued)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(*got, ticket) {
			t.Errorf("%s: got %+v, want %+v", name, *got, ticket)
		}
		if _, err := NewKey().Open(token, ticket.Issued); !errors.Is(err, ErrTicket) {
			t.Errorf("%s: another key: %v", name, err)
		}
	}
}

func TestTokenIsCompact(t *testing.T) {
	ticket := fullTicket(t)
	token, err := NewKey().Seal(&ticket)
	if err != nil || len(token) > 200 {
		t.Errorf("%d characters, %v", len(token), err)
	}
}

func TestTicketExpires(t *testing.T) {
	k, ticket := NewKey(), fullTicket(t)
	token, err := k.Seal(&ticket)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		at   time.Time
		want error
	}{
		{issued.Add(-time.Hour), nil}, // a clock that was set back
		{ticket.Expires.Add(-time.Nanosecond), nil},
		{ticket.Expires, ErrExpired},
		{ticket.Expires.AddDate(10, 0, 0), ErrExpired},
	} {
		got, err := k.Open(token, test.at)
		if !errors.Is(err, test.want) || got == nil || got.Rule != ticket.Rule {
			t.Errorf("at %v: %v, %v, want %v", test.at, got, err, test.want)
		}
	}
}

// TestEveryBitIsSigned changes each bit of a token's bytes, each length, and
// every field one by one.
func TestEveryBitIsSigned(t *testing.T) {
	k := NewKey()
	for name, ticket := range tickets(t) {
		token, err := k.Seal(&ticket)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			t.Fatal(err)
		}
		open := func(b []byte) error {
			_, err := k.Open(base64.RawURLEncoding.EncodeToString(b), issued)
			return err
		}
		for bit := range len(raw) * 8 {
			changed := append([]byte{}, raw...)
			changed[bit/8] ^= 1 << (bit % 8)
			if !errors.Is(open(changed), ErrTicket) {
				t.Fatalf("%s: bit %d may be changed", name, bit)
			}
		}
		for cut := range raw {
			if !errors.Is(open(raw[:cut]), ErrTicket) || !errors.Is(open(raw[cut+1:]), ErrTicket) {
				t.Fatalf("%s: %d bytes of %d pass", name, cut, len(raw))
			}
		}
		if !errors.Is(open(append(raw, 0)), ErrTicket) {
			t.Errorf("%s: a byte may be added", name)
		}
	}
}

// TestFieldsAreApart: what is signed for one ticket cannot be read as another.
func TestFieldsAreApart(t *testing.T) {
	k, want := NewKey(), fullTicket(t)
	token, err := k.Seal(&want)
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Ticket){
		"user":        func(x *Ticket) { x.User = "bob@corp.example" },
		"user, moved": func(x *Ticket) { x.User, x.Rule = x.User+x.Rule[:1], x.Rule[1:] },
		"client":      func(x *Ticket) { x.Client = netip.MustParseAddr("10.4.7.8") },
		"rule":        func(x *Ticket) { x.Rule = "coach" },
		"app":         func(x *Ticket) { x.App = "zoom" },
		"no app":      func(x *Ticket) { x.Rule, x.App = x.Rule+x.App, "" },
		"door":        func(x *Ticket) { x.Door = policy.DoorDNS },
		"host":        func(x *Ticket) { x.Host = host(t, "zoom.us") },
		"port":        func(x *Ticket) { x.Port = 80 },
		"fact":        func(x *Ticket) { x.Fact = policy.Host{} },
		"decision":    func(x *Ticket) { x.Decision = "k3f9x2ab-1b" },
		"issued":      func(x *Ticket) { x.Issued = x.Issued.Add(time.Second) },
		"expires":     func(x *Ticket) { x.Expires = x.Expires.Add(time.Second) },
	} {
		other := want
		edit(&other)
		forged, err := k.Seal(&other)
		if err != nil {
			t.Fatal(err)
		}
		if forged == token {
			t.Errorf("%s: two tickets have one token", name)
		}
		// The bytes of one with the tag of the other.
		a, _ := base64.RawURLEncoding.DecodeString(token)
		b, _ := base64.RawURLEncoding.DecodeString(forged)
		mixed := append(append([]byte{}, b[:len(b)-tagSize]...), a[len(a)-tagSize:]...)
		if _, err := k.Open(base64.RawURLEncoding.EncodeToString(mixed), issued); !errors.Is(err, ErrTicket) {
			t.Errorf("%s: passes with the tag of another ticket: %v", name, err)
		}
	}
}

func TestTicketsThatDoNotFit(t *testing.T) {
	for name, edit := range map[string]func(*Ticket){
		"user":     func(x *Ticket) { x.User = strings.Repeat("u", maxUser+1) },
		"rule":     func(x *Ticket) { x.Rule = strings.Repeat("r", maxName+1) },
		"app":      func(x *Ticket) { x.App = strings.Repeat("a", maxName+1) },
		"decision": func(x *Ticket) { x.Decision = strings.Repeat("d", maxDecision+1) },
		"host":     func(x *Ticket) { x.Host = policy.HostFromCanonicalName(strings.Repeat("h", maxHost+1)) },
	} {
		ticket := fullTicket(t)
		edit(&ticket)
		if token, err := NewKey().Seal(&ticket); err == nil || token != "" {
			t.Errorf("%s: %q, %v", name, token, err)
		}
	}
	if _, err := NewKey().Open(strings.Repeat("A", 1<<20), issued); !errors.Is(err, ErrTicket) {
		t.Error("a megabyte was looked at")
	}
}

// TestSignedNonsense: bytes that are signed and make no ticket, as of a later
// version, are refused rather than half understood.
func TestSignedNonsense(t *testing.T) {
	k, ticket := NewKey(), fullTicket(t)
	token, err := k.Seal(&ticket)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(token)
	body := raw[:len(raw)-tagSize]
	sign := func(b []byte) string {
		return base64.RawURLEncoding.EncodeToString(append(append([]byte{}, b...), k.tag(b)...))
	}
	if _, err := k.Open(sign(body), issued); err != nil {
		t.Fatalf("the test signs as the key does not: %v", err)
	}
	for cut := range body {
		if _, err := k.Open(sign(body[:cut]), issued); !errors.Is(err, ErrTicket) {
			t.Errorf("%d bytes of %d: %v", cut, len(body), err)
		}
	}
	later := append([]byte{}, body...)
	later[0] = ticketVersion + 1
	for _, b := range [][]byte{later, append(append([]byte{}, body...), 0)} {
		if _, err := k.Open(sign(b), issued); !errors.Is(err, ErrTicket) {
			t.Errorf("%v: %v", b, err)
		}
	}
}

func TestWhoATicketIsFor(t *testing.T) {
	a, b := netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("10.1.1.2")
	for _, test := range []struct {
		ticket Ticket
		client netip.Addr
		user   string
		want   bool
	}{
		{Ticket{Client: a}, a, "", true},
		{Ticket{Client: a}, a, "bob", true},
		{Ticket{Client: a}, b, "", false},
		{Ticket{Client: a}, b, "bob", false},
		{Ticket{Client: a, User: "bob"}, a, "", true},
		{Ticket{Client: a, User: "bob"}, b, "bob", true},
		{Ticket{Client: a, User: "bob"}, b, "eve", false},
		{Ticket{Client: a, User: "bob"}, b, "", false},
		{Ticket{}, netip.Addr{}, "", false},
		{Ticket{User: "bob"}, netip.Addr{}, "", false},
	} {
		if got := test.ticket.IsFor(test.client, test.user); got != test.want {
			t.Errorf("%+v for %v, %q: %v", test.ticket, test.client, test.user, got)
		}
	}
}

// FuzzOpen: whatever comes is refused without a panic, and what a key opens it
// seals to the same token again.
func FuzzOpen(f *testing.F) {
	k := &Key{}
	for _, ticket := range tickets(f) {
		token, err := k.Seal(&ticket)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(token)
		f.Add(token[:len(token)/2])
	}
	f.Add("")
	f.Add("AAAA====")
	f.Fuzz(func(t *testing.T, token string) {
		ticket, err := k.Open(token, issued)
		if err != nil && !errors.Is(err, ErrExpired) {
			if ticket != nil {
				t.Fatal("a ticket with an error")
			}
			return
		}
		again, err := k.Seal(ticket)
		if err != nil || again != token {
			t.Fatalf("%q opens to %+v, which seals to %q, %v", token, ticket, again, err)
		}
	})
}

// FuzzParseTicket is FuzzOpen behind the signature.
func FuzzParseTicket(f *testing.F) {
	k := &Key{}
	for _, ticket := range tickets(f) {
		token, _ := k.Seal(&ticket)
		raw, _ := base64.RawURLEncoding.DecodeString(token)
		f.Add(raw[:len(raw)-tagSize])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ticket, ok := parseTicket(b)
		if ok && ticket.Host.IsZero() != (ticket.Host.String() == "") {
			t.Fatalf("%+v", ticket)
		}
	})
}

func BenchmarkTicket(b *testing.B) {
	k, ticket := NewKey(), fullTicket(b)
	token, err := k.Seal(&ticket)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = k.Seal(&ticket)
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = k.Open(token, issued)
		}
	})
}
