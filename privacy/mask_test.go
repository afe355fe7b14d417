package privacy

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/quick"
	"time"
)

// known is a key whose pseudonyms were computed by another program:
//
//	period = hmac(key, b"sallyport pseudonyms of a period, 1\0" + rotate_ns.to_bytes(8) + number.to_bytes(8))
//	digits = hmac(period, kind + canonical)[:8].hex()
func known(t testing.TB) *Key {
	t.Helper()
	k := &Key{}
	if n, err := hex.Decode(k.secret[:], []byte(strings.Repeat("0123456789abcdef", 4))); err != nil || n != len(k.secret) {
		t.Fatal(n, err)
	}
	return k
}

var (
	noon = time.Date(2020, 3, 28, 12, 0, 0, 0, time.UTC)
	day  = 24 * time.Hour
)

func all(e Extent) Extents { return Extents{Client: e, User: e, Device: e} }

func pseudonymous(t testing.TB) *Mask {
	return New(Config{Extents: all(Pseudonym), Key: known(t)})
}

// written is what a mask leaves of a person, "" where that is nothing.
func written(t testing.TB, m *Mask, kind byte, of string, at time.Time) string {
	t.Helper()
	var text []byte
	var hidden bool
	switch kind {
	case kindClient:
		text, hidden = m.AppendClient([]byte("> "), netip.MustParseAddr(of), at)
	case kindUser:
		text, hidden = m.AppendUser([]byte("> "), of, at)
	default:
		text, hidden = m.AppendDevice([]byte("> "), of, at)
	}
	rest, ok := strings.CutPrefix(string(text), "> ")
	if !ok {
		t.Fatalf("what came before is gone: %q", text)
	}
	if !hidden {
		if rest != "" {
			t.Fatalf("%q is written of what is not hidden", rest)
		}
		return of
	}
	return rest
}

// TestPseudonyms fixes them: another version of the program, or another gateway,
// must give the same.
func TestPseudonyms(t *testing.T) {
	hourly := New(Config{Extents: all(Pseudonym), Key: known(t), Rotate: time.Hour})
	daily := pseudonymous(t)
	for _, test := range []struct {
		mask *Mask
		kind byte
		of   string
		at   time.Time
		want string
	}{
		{daily, kindClient, "10.4.7.7", noon, "c-31f4e124240504f8"},
		{daily, kindClient, "2001:db8::7", noon, "c-17c91d106ef095c5"},
		{daily, kindUser, "alice@corp.example", noon, "u-9ccf19397f951152"},
		{daily, kindDevice, "laptop-17", noon, "d-375e969693d472bc"},
		{daily, kindDevice, "AA-BB-CC-DD-EE-0F", noon, "d-f6ab768d688cd103"},
		{daily, kindClient, "10.4.7.7", noon.Add(day), "c-b9b6f272b4ced7b2"},
		{hourly, kindClient, "10.4.7.7", noon, "c-cf4f84f606fdc1eb"},
		{hourly, kindUser, "alice@corp.example", noon.Add(30 * time.Minute), "u-1c628dbaf6abdcbc"},
		{daily, kindUser, "alice@corp.example", time.Unix(-1, 0), "u-ce157b3bfcaacf58"},
	} {
		if got := written(t, test.mask, test.kind, test.of, test.at); got != test.want {
			t.Errorf("%c %s at %s: got %s, want %s", test.kind, test.of, test.at.Format(time.RFC3339), got, test.want)
		}
	}
}

// TestOnePerson: however somebody is written, it is one person.
func TestOnePerson(t *testing.T) {
	m := pseudonymous(t)
	for _, test := range []struct {
		kind  byte
		forms []string
	}{
		{kindClient, []string{"10.4.7.7", "::ffff:10.4.7.7", "::ffff:a04:707"}},
		{kindClient, []string{"fe80::1", "fe80::1%eth0", "fe80::1%eth1"}},
		{kindUser, []string{"alice@corp.example", "Alice@Corp.Example"}},
		{kindDevice, []string{"aa:bb:cc:dd:ee:0f", "AA-BB-CC-DD-EE-0F", "aabb.ccdd.ee0f"}},
		{kindDevice, []string{"laptop-17", "LAPTOP-17"}},
	} {
		want := written(t, m, test.kind, test.forms[0], noon)
		for _, form := range test.forms[1:] {
			if got := written(t, m, test.kind, form, noon); got != want {
				t.Errorf("%s is %s, and %s is %s", test.forms[0], want, form, got)
			}
		}
	}
	others := map[string]string{}
	for _, of := range []string{"10.4.7.7", "10.4.7.8", "::10.4.7.7", "fe80::1"} {
		for _, kind := range []byte{kindClient, kindUser, kindDevice} {
			digits := written(t, m, kind, of, noon)[2:]
			if before, taken := others[digits]; taken {
				t.Errorf("%c %s has the digits of %s", kind, of, before)
			}
			others[digits] = fmt.Sprintf("%c %s", kind, of)
		}
	}
}

// TestShape: nothing that reads logs can take a pseudonym for an address.
func TestShape(t *testing.T) {
	m := pseudonymous(t)
	shape := regexp.MustCompile(`^[cud]-[0-9a-f]{16}$`)
	check := func(bytes [16]byte, name string, seconds int32) bool {
		at := time.Unix(int64(seconds), 0)
		for kind, of := range map[byte]string{kindClient: netip.AddrFrom16(bytes).String(), kindUser: "u" + name, kindDevice: "d" + name} {
			text := written(t, m, kind, of, at)
			if _, err := netip.ParseAddr(text); err == nil || !shape.MatchString(text) || text[0] != kind {
				t.Errorf("%c %q at %s: %q", kind, of, at, text)
				return false
			}
		}
		return true
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

func TestRotation(t *testing.T) {
	m := pseudonymous(t)
	midnight := time.Date(2020, 3, 29, 0, 0, 0, 0, time.UTC)
	today, tomorrow := written(t, m, kindUser, "alice", noon), written(t, m, kindUser, "alice", noon.Add(day))
	if today == tomorrow {
		t.Fatal("it is the same tomorrow")
	}
	for at, want := range map[time.Time]string{
		midnight.Add(-day):    today,
		midnight.Add(-1):      today,
		midnight:              tomorrow,
		midnight.Add(day - 1): tomorrow,
		midnight.In(time.FixedZone("PDT", -7*3600)): tomorrow, // wherever the gateway is
	} {
		if got := written(t, m, kindUser, "alice", at); got != want {
			t.Errorf("at %s: got %s, want %s", at, got, want)
		}
	}
	// However the entries of periods are mixed, each has its own.
	fresh := map[int]string{}
	for i := range 5 {
		fresh[i] = written(t, pseudonymous(t), kindClient, "10.4.7.7", noon.Add(time.Duration(i)*day))
	}
	for _, i := range []int{4, 3, 4, 0, 4, 1, 3, 2, 0, 4, 4, 2, 1} {
		if got := written(t, m, kindClient, "10.4.7.7", noon.Add(time.Duration(i)*day)); got != fresh[i] {
			t.Errorf("day %d: got %s, want %s", i, got, fresh[i])
		}
	}
	seen := map[string]int{}
	for i, text := range fresh {
		if before, taken := seen[text]; taken {
			t.Errorf("days %d and %d share %s", before, i, text)
		}
		seen[text] = i
	}
}

// TestPeriod: every instant is in the period that is said to hold it, and the
// next one begins where it ends.
func TestPeriod(t *testing.T) {
	check := func(seconds int32, nanos uint32, hours uint8) bool {
		m := New(Config{Extents: all(Pseudonym), Key: known(t), Rotate: time.Duration(max(hours, 1)) * time.Hour})
		at := time.Unix(int64(seconds), int64(nanos%1e9))
		from, to := m.Period(at)
		same := written(t, m, kindUser, "alice", from) == written(t, m, kindUser, "alice", to.Add(-1)) &&
			written(t, m, kindUser, "alice", at) == written(t, m, kindUser, "alice", from)
		other := written(t, m, kindUser, "alice", to) != written(t, m, kindUser, "alice", at)
		next, _ := m.Period(to)
		return !at.Before(from) && at.Before(to) && next.Equal(to) && to.Sub(from) == m.pseudonyms.rotate && same && other
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
	for _, m := range []*Mask{nil, New(Config{})} {
		if from, to := m.Period(noon); !from.IsZero() || !to.IsZero() {
			t.Errorf("without a key: %s to %s", from, to)
		}
	}
}

// TestShared: gateways that have one key, and rotate alike, say the same.
func TestShared(t *testing.T) {
	one, other := pseudonymous(t), pseudonymous(t)
	if a, b := written(t, one, kindClient, "10.4.7.7", noon), written(t, other, kindClient, "10.4.7.7", noon.Add(time.Hour)); a != b {
		t.Errorf("with one key: %s and %s", a, b)
	}
	for name, m := range map[string]*Mask{
		"another key":      New(Config{Extents: all(Pseudonym), Key: NewKey()}),
		"another rotation": New(Config{Extents: all(Pseudonym), Key: known(t), Rotate: 12 * time.Hour}),
	} {
		if a, b := written(t, one, kindClient, "10.4.7.7", noon), written(t, m, kindClient, "10.4.7.7", noon); a == b {
			t.Errorf("%s: both say %s", name, a)
		}
	}
}

func TestExtents(t *testing.T) {
	for _, test := range []struct {
		name   string
		mask   *Mask
		hides  bool
		client string // what is written of it, a * for any digits
		user   string
		device string
	}{
		{"nobody asked", nil, false, "10.4.7.7", "alice", "laptop-17"},
		{"the zero value", New(Config{}), false, "10.4.7.7", "alice", "laptop-17"},
		{"full", New(Config{Key: known(t)}), false, "10.4.7.7", "alice", "laptop-17"},
		{"none", New(Config{Extents: all(None)}), true, "", "", ""},
		{"pseudonyms", pseudonymous(t), true, "c-*", "u-*", "d-*"},
		{"pseudonyms without a key", New(Config{Extents: all(Pseudonym)}), true, "", "", ""},
		{"a choice that does not exist", New(Config{Extents: all(7), Key: known(t)}), true, "", "", ""},
		{"clients alone", New(Config{Extents: Extents{Client: None}, Key: known(t)}), true, "", "alice", "laptop-17"},
		{"users alone", New(Config{Extents: Extents{User: Pseudonym}, Key: known(t)}), true, "10.4.7.7", "u-*", "laptop-17"},
		{"devices alone", New(Config{Extents: Extents{Device: None}, Key: known(t)}), false, "10.4.7.7", "alice", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for kind, one := range map[byte][2]string{kindClient: {"10.4.7.7", test.client}, kindUser: {"alice", test.user}, kindDevice: {"laptop-17", test.device}} {
				got, want := written(t, test.mask, kind, one[0], noon), one[1]
				if prefix, digits := strings.CutSuffix(want, "*"); digits && strings.HasPrefix(got, prefix) {
					continue
				}
				if got != want {
					t.Errorf("%s: got %q, want %q", one[0], got, want)
				}
			}
			if test.mask.HidesPeople() != test.hides {
				t.Errorf("hides people: %t", !test.hides)
			}
		})
	}
	// What is not known stays empty, and is no pseudonym that all strangers share.
	m := pseudonymous(t)
	if text, hidden := m.AppendClient(nil, netip.Addr{}, noon); len(text) > 0 || !hidden {
		t.Errorf("no address: %q, %t", text, hidden)
	}
	if text, hidden := m.AppendUser(nil, "", noon); len(text) > 0 || !hidden {
		t.Errorf("no user: %q, %t", text, hidden)
	}
}

func TestParseExtent(t *testing.T) {
	for _, e := range []Extent{Full, Pseudonym, None} {
		if got, err := ParseExtent(e.String()); err != nil || got != e {
			t.Errorf("%s: %v, %v", e, got, err)
		}
	}
	if got, err := ParseExtent("hash"); err == nil || got != None {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestBounded: strangers cannot fill the memory, and people keep their
// pseudonyms while they try.
func TestBounded(t *testing.T) {
	m := pseudonymous(t)
	alice := written(t, m, kindUser, "alice", noon)
	long := strings.Repeat("a", maxKnownName+1)
	first := written(t, m, kindUser, long, noon)
	for i := range maxKnown + 10 {
		m.AppendClient(nil, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), noon)
		m.AppendUser(nil, fmt.Sprint("user", i), noon)
	}
	of := m.pseudonyms.of(m.pseudonyms.period(noon))
	if len(of.clients) > maxKnown || len(of.names) > maxKnown || len(of.clients) == 0 {
		t.Errorf("%d addresses and %d names are kept", len(of.clients), len(of.names))
	}
	for name := range of.names {
		if len(name.name) > maxKnownName {
			t.Errorf("a name of %d bytes is kept", len(name.name))
		}
	}
	if written(t, m, kindUser, "alice", noon) != alice || written(t, m, kindUser, long, noon) != first {
		t.Error("somebody has another pseudonym now")
	}
}

func TestConcurrent(t *testing.T) {
	m := pseudonymous(t)
	want := written(t, m, kindClient, "10.4.7.7", noon)
	var running sync.WaitGroup
	for i := range 8 {
		running.Go(func() {
			for j := range 200 {
				written(t, m, kindUser, fmt.Sprint(i, j), noon.Add(time.Duration(j%4)*day))
				if got := written(t, m, kindClient, "10.4.7.7", noon); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
	running.Wait()
}

func TestNoAllocations(t *testing.T) {
	m := pseudonymous(t)
	address, line := netip.MustParseAddr("2001:db8::7"), make([]byte, 0, 64)
	once := func() {
		line, _ = m.AppendClient(line[:0], address, noon)
		line, _ = m.AppendUser(line, "alice@corp.example", noon)
		line, _ = m.AppendDevice(line, "laptop-17", noon)
	}
	once()
	if n := testing.AllocsPerRun(100, once); n > 0 {
		t.Errorf("%v allocations for somebody who is known", n)
	}
}

func BenchmarkAppendClient(b *testing.B) {
	m := pseudonymous(b)
	line := make([]byte, 0, 64)
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		address := netip.MustParseAddr("10.4.7.7")
		for b.Loop() {
			line, _ = m.AppendClient(line[:0], address, noon)
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			address := netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
			line, _ = m.AppendClient(line[:0], address, noon)
		}
	})
}
