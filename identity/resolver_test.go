package identity

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/policy"
)

// unresolved is a Subjects without a policy behind it.
type unresolved struct{}

func (unresolved) Subject(id policy.Identity) policy.Subject { return policy.Subject{Identity: id} }

var (
	desk  = netip.MustParseAddr("10.4.7.7")
	other = netip.MustParseAddr("10.4.7.8")
)

// basicOf is the header value that a client sends for a pair.
func basicOf(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// table makes users whose passwords are "pw-" and their name.
func table(t testing.TB, users ...string) *Htpasswd {
	t.Helper()
	var lines []byte
	for _, u := range users {
		hash, err := bcrypt.GenerateFromPassword([]byte("pw-"+u), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		lines = fmt.Appendf(lines, "%s:%s\n", u, hash)
	}
	h, err := parseHtpasswd("users", lines)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func resolver(t testing.TB, cfg Config, users ...string) *Resolver {
	t.Helper()
	r := New(cfg, unresolved{})
	if len(users) > 0 {
		r.SetUsers(table(t, users...))
	}
	return r
}

// signIn fails the test unless the pair is accepted.
func signIn(t *testing.T, r *Resolver, addr netip.Addr, user string) policy.Subject {
	t.Helper()
	s, err := r.ByCredentials(addr, basicOf(user, "pw-"+user))
	if err != nil {
		t.Fatalf("sign in as %s: %v", user, err)
	}
	return s
}

func TestByAddr(t *testing.T) {
	r := resolver(t, Config{Remember: time.Hour}, "alice")
	signIn(t, r, other, "alice")
	for _, test := range []struct {
		addr, want, user, source string
	}{
		{"10.4.7.7", "10.4.7.7", "", SourceNetwork},
		{"::ffff:10.4.7.7", "10.4.7.7", "", SourceNetwork},
		{"fe80::1%eth0", "fe80::1", "", SourceNetwork},
		{"10.4.7.8", "10.4.7.8", "alice", SourceRemembered},
		{"::ffff:10.4.7.8", "10.4.7.8", "alice", SourceRemembered},
	} {
		got := r.ByAddr(netip.MustParseAddr(test.addr)).Identity
		if got.Addr.String() != test.want || got.User != test.user || got.Source != test.source {
			t.Errorf("ByAddr(%s) = %+v, want %s %q %s", test.addr, got, test.want, test.user, test.source)
		}
	}
	if got := r.ByAddr(netip.Addr{}).Identity; got.Source != SourceNone || got.Addr.IsValid() {
		t.Errorf("ByAddr of no address = %+v, want source none", got)
	}
}

func TestByCredentials(t *testing.T) {
	r := resolver(t, Config{}, "alice", "priya@corp.example")
	for _, test := range []struct {
		name, header string
		user, source string
		err          error
	}{
		{"none", "", "", SourceNetwork, nil},
		{"right", basicOf("alice", "pw-alice"), "alice", SourceBasic, nil},
		{"right, user in capitals", basicOf("ALICE", "pw-alice"), "alice", SourceBasic, nil},
		{"right, other user", basicOf("priya@corp.example", "pw-priya@corp.example"), "priya@corp.example", SourceBasic, nil},
		{"wrong password", basicOf("alice", "pw-priya@corp.example"), "", "", ErrCredentials},
		{"password in capitals", basicOf("alice", "PW-ALICE"), "", "", ErrCredentials},
		{"unknown user", basicOf("mallory", "pw-alice"), "", "", ErrCredentials},
		{"unknown user with a real user's password", basicOf("bob", "pw-priya@corp.example"), "", "", ErrCredentials},
		{"another scheme", "Negotiate YII=", "", "", ErrCredentials},
		{"malformed", "Basic ?", "", "", ErrCredentials},
	} {
		for _, again := range []string{"", ", again"} { // the second time from the cache
			t.Run(test.name+again, func(t *testing.T) {
				got, err := r.ByCredentials(desk, test.header)
				if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
					t.Fatalf("error %v, want %v", err, test.err)
				}
				if got.User != test.user || got.Source != test.source {
					t.Errorf("got user %q source %q, want %q %q", got.User, got.Source, test.user, test.source)
				}
				if err == nil && got.Addr != desk {
					t.Errorf("got address %s, want %s", got.Addr, desk)
				}
				if err != nil && got.Addr.IsValid() {
					t.Errorf("refused credentials still gave the address %s", got.Addr)
				}
			})
		}
	}
}

func TestWithoutUsersCredentialsAreIgnored(t *testing.T) {
	r := resolver(t, Config{})
	got, err := r.ByCredentials(desk, basicOf("alice", "pw-alice"))
	if err != nil || got.User != "" || got.Source != SourceNetwork {
		t.Errorf("got %+v, %v; want the address alone", got.Identity, err)
	}
}

func TestRememberedUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resolver(t, Config{Remember: time.Hour}, "alice", "bob")
		signIn(t, r, desk, "alice")
		if got := r.ByAddr(other).User; got != "" {
			t.Errorf("at another address: user %q", got)
		}
		time.Sleep(time.Hour - time.Second)
		if got := r.ByAddr(desk).User; got != "alice" {
			t.Errorf("a second before the end: user %q, want alice", got)
		}
		time.Sleep(time.Second)
		if got := r.ByAddr(desk); got.User != "" || got.Source != SourceNetwork {
			t.Errorf("at the end: user %q source %q, want nobody", got.User, got.Source)
		}

		// A request with credentials starts the hour anew.
		signIn(t, r, desk, "alice")
		time.Sleep(40 * time.Minute)
		signIn(t, r, desk, "alice")
		time.Sleep(40 * time.Minute)
		if got := r.ByAddr(desk).User; got != "alice" {
			t.Errorf("40 minutes after the last request: user %q, want alice", got)
		}

		signIn(t, r, desk, "bob")
		if got := r.ByAddr(desk).User; got != "bob" {
			t.Errorf("after bob signed in: user %q", got)
		}
	})
}

// Whoever sits down at somebody's desk is asked at the proxy door.
func TestRememberedUserDoesNotSignIn(t *testing.T) {
	r := resolver(t, Config{Remember: time.Hour}, "alice")
	signIn(t, r, desk, "alice")
	got, err := r.ByCredentials(desk, "")
	if err != nil || got.User != "" || got.Source != SourceNetwork {
		t.Errorf("without credentials: %+v, %v; want the address alone", got.Identity, err)
	}
	if got := r.ByAddr(desk).User; got != "alice" {
		t.Errorf("at the DNS door: %q, want alice", got)
	}
}

func TestRememberOffByDefault(t *testing.T) {
	r := resolver(t, Config{}, "alice")
	signIn(t, r, desk, "alice")
	if got := r.ByAddr(desk).User; got != "" {
		t.Errorf("remembered %q without being asked to", got)
	}
}

func TestSetUsersForgets(t *testing.T) {
	r := resolver(t, Config{Remember: time.Hour}, "alice", "bob")
	signIn(t, r, desk, "alice")
	signIn(t, r, other, "bob")

	r.SetUsers(table(t, "bob"))
	if got := r.ByAddr(desk).User; got != "" {
		t.Errorf("alice left the file and is still remembered as %q", got)
	}
	if got := r.ByAddr(other).User; got != "bob" {
		t.Errorf("bob stayed in the file and is remembered as %q", got)
	}
	if _, err := r.ByCredentials(desk, basicOf("alice", "pw-alice")); !errors.Is(err, ErrCredentials) {
		t.Errorf("alice left the file and signed in: %v", err)
	}

	r.SetUsers(nil)
	if got := r.ByAddr(other).User; got != "" {
		t.Errorf("no users are in force and %q is remembered", got)
	}
}

// A changed password must not be outlived by the cache, nor a corrected one by
// the memory of its failure.
func TestSetUsersFlushesWhatWasVerified(t *testing.T) {
	hash := func(password string) *Htpasswd {
		b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		h, err := parseHtpasswd("users", fmt.Appendf(nil, "alice:%s\n", b))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	r := resolver(t, Config{})
	try := func(password string) error {
		_, err := r.ByCredentials(desk, basicOf("alice", password))
		return err
	}
	r.SetUsers(hash("old"))
	if try("old") != nil || try("new") == nil {
		t.Fatal("the first table does not hold")
	}
	r.SetUsers(hash("new"))
	if try("old") == nil {
		t.Error("the old password still stands")
	}
	if err := try("new"); err != nil {
		t.Errorf("the new password is refused: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	r := resolver(t, Config{Remember: time.Hour, RememberMax: 64}, "alice", "bob")
	with, without := table(t, "alice", "bob"), table(t, "bob")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 50 {
				addr := netip.AddrFrom4([4]byte{10, 0, byte(i), byte(n)})
				if s, err := r.ByCredentials(addr, basicOf("alice", "pw-alice")); err == nil && s.User != "alice" {
					t.Errorf("signed in as alice, known as %q", s.User)
				}
				if got := r.ByAddr(addr).User; got != "" && got != "alice" {
					t.Errorf("remembered %q where only alice was", got)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			r.SetUsers(without)
			r.SetUsers(with)
		}
	})
	wg.Wait()
	// Whatever was under way: once the table is without alice, so is memory.
	r.SetUsers(without)
	for i := range 4 {
		for n := range 50 {
			if got := r.ByAddr(netip.AddrFrom4([4]byte{10, 0, byte(i), byte(n)})).User; got != "" {
				t.Fatalf("alice is gone and %q is remembered", got)
			}
		}
	}
	if n := r.remembered.count.Load(); n != 0 {
		t.Errorf("%d sightings counted in an empty memory", n)
	}
}

func TestRememberedIsBounded(t *testing.T) {
	m := newRemembered(time.Hour, 1000)
	for i := range 20_000 {
		m.put(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), "u", time.Duration(i))
	}
	held := 0
	for i := range m.shards {
		held += len(m.shards[i].byAddr)
	}
	if limit := m.limit * rememberShards; held > limit || held < limit/2 {
		t.Errorf("%d addresses held, want at most %d and near it", held, limit)
	}
	if int(m.count.Load()) != held {
		t.Errorf("count says %d, %d are held", m.count.Load(), held)
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	r := resolver(t, Config{Remember: time.Hour}, "alice")
	header := basicOf("alice", "pw-alice")
	signIn(t, r, desk, "alice")
	for name, f := range map[string]func(){
		"address":     func() { r.ByAddr(other) },
		"remembered":  func() { r.ByAddr(desk) },
		"credentials": func() { r.ByCredentials(desk, header) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkSubject(b *testing.B) {
	r := resolver(b, Config{Remember: time.Hour}, "alice")
	header := basicOf("alice", "pw-alice")
	if _, err := r.ByCredentials(desk, header); err != nil {
		b.Fatal(err)
	}
	nobody := resolver(b, Config{Remember: time.Hour})
	b.Run("engine/100000-networks", func(b *testing.B) {
		e := New(Config{Remember: time.Hour}, engineOf(b, 100_000))
		b.ReportAllocs()
		n := uint32(0)
		for b.Loop() {
			n += 2654435761 // every network in turn, in no order
			e.ByAddr(netip.AddrFrom4([4]byte{10, byte(n >> 24), byte(n >> 16), byte(n >> 8)}))
		}
	})
	b.Run("address", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			nobody.ByAddr(other)
		}
	})
	b.Run("address/others-remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.ByAddr(other)
		}
	})
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.ByAddr(desk)
		}
	})
	b.Run("credentials", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.ByCredentials(desk, header)
		}
	})
}

// engineOf is a policy engine with so many client networks, in a hundred
// groups.
func engineOf(b *testing.B, networks int) *policy.Engine {
	b.Helper()
	doc := &policy.Document{Location: time.UTC, Groups: make([]policy.Group, 100)}
	for i := range doc.Groups {
		doc.Groups[i].Name = fmt.Sprint("group", i)
	}
	for i := range networks {
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 12), byte(i >> 4), byte(i << 4)}), 28)
		g := &doc.Groups[i%len(doc.Groups)]
		g.Networks = append(g.Networks, policy.Network{Prefix: prefix})
	}
	program, problems := policy.Compile(doc, policy.Sources{Revision: "bench"})
	if program == nil {
		b.Fatal(problems)
	}
	return policy.NewEngine(program)
}
