package coaching

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/policy"
)

// began is when the tests' grants begin.
var began = time.Date(2020, 4, 1, 9, 0, 0, 0, time.UTC)

func keyOf(user, rule, app string) policy.GrantKey {
	return policy.GrantKey{Holder: policy.Holder{User: user}, Rule: rule, App: app}
}

func keyAt(addr, rule, app string) policy.GrantKey {
	return policy.GrantKey{Holder: policy.Holder{Client: netip.MustParseAddr(addr)}, Rule: rule, App: app}
}

func openStore(t testing.TB, config Config) *Store {
	t.Helper()
	s, err := Open(config, began, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func add(t testing.TB, s *Store, key policy.GrantKey, given time.Time, lasts time.Duration) Grant {
	t.Helper()
	g, added, err := s.Add(Grant{Key: key, Given: given, Until: given.Add(lasts)})
	if err != nil || !added {
		t.Fatalf("%+v: added %v, %v", key, added, err)
	}
	return g
}

func TestStoreHolds(t *testing.T) {
	s := openStore(t, Config{})
	key := keyOf("alice", "coach", "jitsi")
	if _, ok := s.Holds(key, began); ok {
		t.Error("held before it was given")
	}
	g := add(t, s, key, began, time.Hour)
	for _, test := range []struct {
		key  policy.GrantKey
		at   time.Time
		want bool
	}{
		{key, began, true},
		{key, g.Until.Add(-time.Nanosecond), true},
		{key, g.Until, false},
		{key, g.Until.Add(time.Hour), false},
		{keyOf("bob", "coach", "jitsi"), began, false},
		{keyOf("alice", "coach", "zoom"), began, false},
		{keyOf("alice", "coach", ""), began, false},
		{keyOf("alice", "other", "jitsi"), began, false},
		{keyAt("10.0.0.1", "coach", "jitsi"), began, false},
		{policy.GrantKey{}, began, false},
	} {
		until, ok := s.Holds(test.key, test.at)
		if ok != test.want || ok && !until.Equal(g.Until) {
			t.Errorf("%+v at %v: %v until %v", test.key, test.at, ok, until)
		}
	}
	if n := testing.AllocsPerRun(100, func() { s.Holds(key, began) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAddTwice(t *testing.T) {
	s := openStore(t, Config{})
	key := keyOf("alice", "coach", "jitsi")
	first := add(t, s, key, began, time.Hour)
	again, added, err := s.Add(Grant{Key: key, Given: began.Add(time.Minute), Until: began.Add(5 * time.Hour)})
	if err != nil || added || again != first {
		t.Errorf("pressed twice: %+v, %v, %v", again, added, err)
	}
	// Once it has ended, it is another.
	next := add(t, s, key, first.Until, time.Hour)
	if !s.Next().Equal(first.Until) {
		t.Errorf("the end of the first is forgotten: next %v", s.Next())
	}
	if next.ID == first.ID || s.Len() != 1 {
		t.Errorf("%+v, %d held", next, s.Len())
	}
	if over := s.Sweep(first.Until); len(over) != 1 || over[0] != first {
		t.Errorf("swept %+v", over)
	}
}

func TestAddRefuses(t *testing.T) {
	s := openStore(t, Config{Limit: 5, PerHolder: 2})
	for name, g := range map[string]Grant{
		"nobody":  {Key: policy.GrantKey{Rule: "r"}, Given: began, Until: began.Add(1)},
		"no rule": {Key: keyOf("a", "", ""), Given: began, Until: began.Add(1)},
		"no time": {Key: keyOf("a", "r", ""), Given: began, Until: began},
	} {
		if _, added, err := s.Add(g); err == nil || added {
			t.Errorf("%s: was added", name)
		}
	}
	full := func(key policy.GrantKey, want error) {
		t.Helper()
		if _, _, err := s.Add(Grant{Key: key, Given: began, Until: began.Add(time.Hour)}); !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", key, err, want)
		}
	}
	add(t, s, keyOf("alice", "coach", "a"), began, time.Hour)
	b := add(t, s, keyOf("alice", "coach", "b"), began, time.Hour)
	full(keyOf("alice", "coach", "c"), ErrTooMany)
	// One client of IPv6 is a /64.
	add(t, s, keyAt("fd00::1", "coach", "a"), began, time.Hour)
	add(t, s, keyAt("fd00::2", "coach", "a"), began, time.Hour)
	full(keyAt("fd00::ffff:ffff:1", "coach", "a"), ErrTooMany)
	add(t, s, keyAt("10.0.0.1", "coach", "a"), began, time.Minute)
	full(keyAt("10.0.0.2", "coach", "a"), ErrFull)
	// What ends makes room.
	if _, err := s.Revoke(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	add(t, s, keyOf("alice", "coach", "c"), began, time.Hour)
	full(keyAt("10.0.0.2", "coach", "a"), ErrFull)
	add(t, s, keyAt("10.0.0.2", "coach", "a"), began.Add(time.Minute), time.Minute)
	if s.Len() != 5 {
		t.Errorf("%d held", s.Len())
	}
}

func TestRevoke(t *testing.T) {
	s := openStore(t, Config{})
	key := keyOf("alice", "coach", "jitsi")
	g := add(t, s, key, began, time.Hour)
	if _, err := s.Revoke(t.Context(), "nonsense"); !errors.Is(err, ErrNoSuch) {
		t.Errorf("%v", err)
	}
	got, err := s.Revoke(t.Context(), g.ID)
	if err != nil || got != g {
		t.Errorf("%+v, %v", got, err)
	}
	if _, ok := s.Holds(key, began); ok || s.Len() != 0 || !s.Next().IsZero() {
		t.Error("it holds on")
	}
	if _, err := s.Revoke(t.Context(), g.ID); !errors.Is(err, ErrNoSuch) {
		t.Errorf("a second time: %v", err)
	}
	if over := s.Sweep(g.Until); len(over) != 0 {
		t.Errorf("what was revoked ended again: %+v", over)
	}
}

// TestEnds: the store tells its owner when to look, and each grant once.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, Config{PerHolder: 1000})
		rng := rand.New(rand.NewPCG(1, 2))
		want := map[string]time.Time{}
		for i := range 200 {
			g := add(t, s, keyOf("alice", "coach", fmt.Sprint(i)), time.Now(), time.Duration(1+rng.IntN(3600))*time.Second)
			want[g.ID] = g.Until
		}
		for i, id := range slices.Collect(func(yield func(string) bool) {
			for id := range want {
				if !yield(id) {
					return
				}
			}
		}) {
			if i%4 > 0 {
				continue
			}
			if _, err := s.Revoke(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			delete(want, id)
		}
		for !s.Next().IsZero() {
			time.Sleep(time.Until(s.Next()))
			for _, g := range s.Sweep(time.Now()) {
				if !want[g.ID].Equal(time.Now()) {
					t.Fatalf("%s ended at %v, not at %v", g.ID, time.Now(), want[g.ID])
				}
				delete(want, g.ID)
			}
		}
		if len(want) != 0 || s.Len() != 0 {
			t.Errorf("%d have not ended, %d are held", len(want), s.Len())
		}
	})
}

func TestList(t *testing.T) {
	s := openStore(t, Config{})
	for i, name := range []string{"a", "b", "c"} {
		add(t, s, keyOf("alice", "coach", name), began.Add(time.Duration(i)*time.Minute), time.Hour)
	}
	var apps []string
	for _, g := range s.List() {
		apps = append(apps, g.Key.App)
	}
	if got := strings.Join(apps, ""); got != "cba" {
		t.Errorf("got %s", got)
	}
}

// TestStoreAtOnce has everything called at once, for the race detector.
func TestStoreAtOnce(t *testing.T) {
	s := openStore(t, Config{Limit: 300})
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 3))
			for i := range 2000 {
				at := began.Add(time.Duration(i) * time.Second)
				key := keyOf(fmt.Sprint("u", rng.IntN(20)), "coach", fmt.Sprint("a", rng.IntN(20)))
				switch rng.IntN(6) {
				case 0:
					_, _, _ = s.Add(Grant{Key: key, Given: at, Until: at.Add(time.Duration(1+rng.IntN(600)) * time.Second)})
				case 1:
					s.Sweep(at)
				case 2:
					if list := s.List(); len(list) > 0 {
						_, _ = s.Revoke(t.Context(), list[rng.IntN(len(list))].ID)
					}
				default:
					if until, ok := s.Holds(key, at); ok && !until.After(at) {
						t.Errorf("held at %v until %v", at, until)
					}
					s.Next()
				}
			}
		})
	}
	all.Wait()
	s.Sweep(began.AddDate(1, 0, 0))
	if s.Len() != 0 || len(s.byKey)+len(s.byID)+len(s.ends)+len(s.share) != 0 {
		t.Errorf("left behind: %d by key, %d by id, %d ends, %d shares", len(s.byKey), len(s.byID), len(s.ends), len(s.share))
	}
}

func TestEnd(t *testing.T) {
	for _, test := range []struct {
		given time.Duration
		want  time.Duration
	}{{0, time.Hour}, {time.Nanosecond, time.Hour + time.Second}, {999 * time.Millisecond, time.Hour + time.Second}} {
		if got := End(began.Add(test.given), time.Hour); !got.Equal(began.Add(test.want)) {
			t.Errorf("given %v: %v", test.given, got)
		}
	}
}

func TestTidy(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{" \t\r\n ", ""},
		{"a customer\r\n\r\nmeets  there ", "a customer meets there"},
		{"\x1b[31mred\x00\u202e\u200b", "[31mred"},
		{"gr\u00fc\u00dfe \xff\xfe", "gr\u00fc\u00dfe"},
		{strings.Repeat("\u00fc", MaxJustification+5), strings.Repeat("\u00fc", MaxJustification)},
		{strings.Repeat("x", MaxJustification-1) + " yz", strings.Repeat("x", MaxJustification-1)},
		{strings.Repeat("x", MaxJustification), strings.Repeat("x", MaxJustification)},
	} {
		got := Tidy(test.text)
		if got != test.want || !utf8.ValidString(got) {
			t.Errorf("%.40q: got %.40q, want %.40q", test.text, got, test.want)
		}
	}
}

func BenchmarkHolds(b *testing.B) {
	s := openStore(b, Config{})
	for i := range defaultLimit {
		add(b, s, keyAt(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(), "coach-the-rest", "jitsi"), began, time.Hour)
	}
	for name, addr := range map[string]string{"held": "10.0.7.7", "not_held": "11.0.7.7"} {
		key := keyAt(addr, "coach-the-rest", "jitsi")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Holds(key, began)
			}
		})
	}
}
