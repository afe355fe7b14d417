package audit

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/privacy"
)

// maskKey is a key that every test of pseudonyms shares, since golden files do.
func maskKey(t testing.TB) *privacy.Key {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pseudonym.key")
	if err := os.WriteFile(path, []byte(strings.Repeat("0123456789abcdef", 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := privacy.ReadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mask(t testing.TB, client, user, device privacy.Extent) *privacy.Mask {
	return privacy.New(privacy.Config{Extents: privacy.Extents{Client: client, User: user, Device: device}, Key: maskKey(t)})
}

// person is a decision about alice at her desk, by what the log could tell of
// her.
func person(t *testing.T) *policy.Decision {
	d := blocked()
	d.ID = "memo-1"
	d.Subject = subject(t)
	d.Subject.Devices = []string{"laptop-17.corp.example", "aa:bb:cc:dd:ee:0f"}
	return d
}

// TestMaskedEntries fixes what is written where people are hidden.
func TestMaskedEntries(t *testing.T) {
	const full, pseudonym, none = privacy.Full, privacy.Pseudonym, privacy.None
	d := person(t)
	given := &Grant{Decision: d, Time: start.Add(time.Minute), ID: "4x7q2m9kd3ab",
		Until: start.Add(8 * time.Hour), Justification: "Alice, for the customer"}
	over := *given
	over.Time, over.Given, over.EndedBy = start.Add(8*time.Hour), start.Add(time.Minute), EndedByTime
	for _, test := range []struct {
		name string
		mask *privacy.Mask
	}{
		{"pseudonym", mask(t, pseudonym, pseudonym, pseudonym)},
		{"none", mask(t, none, none, none)},
		{"mixed", mask(t, full, pseudonym, none)},
		{"devices", mask(t, full, full, pseudonym)},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			l := open(t, Config{Tenant: "default"}, Dependencies{Stdout: &out, Mask: test.mask})
			l.Record(d)
			l.RecordEnd(&policy.TunnelEnd{Decision: d, Time: start.Add(time.Minute), Seconds: 60, ClosedBy: "client"})
			l.RecordGrant(given)
			l.RecordGrant(&over)
			closeLog(t, l)
			golden(t, "masked-"+test.name+".json", out.Bytes())
			readLines(t, out.Bytes())
		})
	}
}

// TestMaskedKeys: whoever reads logs finds the same keys, whatever is hidden.
func TestMaskedKeys(t *testing.T) {
	written := func(m *privacy.Mask) string {
		var out bytes.Buffer
		l := open(t, Config{}, Dependencies{Stdout: &out, Mask: m})
		l.Record(person(t))
		l.RecordGrant(&Grant{Decision: person(t)})
		closeLog(t, l)
		var all []string
		for line := range strings.Lines(out.String()) {
			all = append(all, keys(t, line)...)
		}
		return strings.Join(all, " ")
	}
	if got, want := written(mask(t, privacy.None, privacy.None, privacy.None)), written(nil); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestFullIsUnchanged: a log that hides nothing is, to the byte, the log of a
// program that cannot hide.
func TestFullIsUnchanged(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	full := mask(t, privacy.Full, privacy.Full, privacy.Full)
	plain, masked := newEncoder("default", &ids{prefix: "a-"}, nil), newEncoder("default", &ids{prefix: "a-"}, full)
	for range 2000 {
		d := person(t)
		bits := random.Uint64()
		addr := netip.AddrFrom4([4]byte{10, byte(bits), byte(bits >> 8), byte(bits >> 16)})
		d.Client = []netip.Addr{addr, netip.AddrFrom16(addr.As16()), {}, netip.MustParseAddr("fe80::1%eth0")}[bits>>62]
		d.Subject.User = []string{"", "alice", "Ünïcode\x00\xff\"", strings.Repeat("a", 300)}[bits>>60&3]
		d.Subject.Devices = [][]string{nil, {}, {"laptop-17"}, {"", "\n"}}[bits>>58&3]
		var r record
		r.fill(d, start.UnixNano()+int64(bits>>20))
		switch bits >> 56 & 3 {
		case 1:
			r.end = &policy.TunnelEnd{ClosedBy: "client"}
		case 2:
			r.grant = &Grant{Justification: "a customer"}
		}
		one, err := plain.append(nil, &r)
		if err != nil {
			t.Fatal(err)
		}
		other, err := masked.append(nil, &r)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, other) {
			t.Fatalf("got\n%swant\n%s", other, one)
		}
	}
}

// field is one text of each entry.
func field(t *testing.T, entries []map[string]any, key string) []string {
	t.Helper()
	var all []string
	for _, entry := range entries {
		text, ok := entry[key].(string)
		if !ok {
			t.Fatalf("no text %s in %v", key, entry)
		}
		all = append(all, text)
	}
	return all
}

// TestPseudonymsTurn: with the day, and for the entries of a tunnel and of a
// grant that live longer not at all: their id would join the two days.
func TestPseudonymsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := open(t, Config{}, Dependencies{Stdout: &out, Mask: mask(t, privacy.Pseudonym, privacy.Pseudonym, privacy.Pseudonym)})
		now := func() *policy.Decision {
			d := person(t)
			d.Time = time.Time{} // the log's own clock, which is the bubble's
			return d
		}
		time.Sleep(time.Until(time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC)) - time.Second)
		l.Record(now()) // 0: the last second of a day
		tunnel := now()
		tunnel.Time = time.Now()
		l.Record(tunnel) // 1
		given := time.Now()
		l.RecordGrant(&Grant{Decision: now(), Given: given}) // 2
		time.Sleep(time.Second)
		l.Record(now())                                                                      // 3: the first instant of the next
		l.RecordEnd(&policy.TunnelEnd{Decision: tunnel, Time: time.Now(), ClosedBy: "idle"}) // 4
		l.RecordGrant(&Grant{Decision: now(), Given: given, EndedBy: EndedByTime})           // 5
		time.Sleep(24*time.Hour - time.Nanosecond)
		l.Record(now()) // 6: the last instant of that
		time.Sleep(time.Nanosecond)
		l.Record(now()) // 7
		closeLog(t, l)
		for _, key := range []string{"client", "user"} {
			got := field(t, readLines(t, out.Bytes()), key)
			first, second, third := got[0], got[3], got[7]
			if first == second || second == third || first == third {
				t.Errorf("%s does not turn with the day: %q", key, got)
			}
			if want := []string{first, first, first, second, first, first, second, third}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s:\ngot  %q\nwant %q", key, got, want)
			}
		}
	})
}

// TestSharedPseudonyms: logs of two gateways that share a key can be read as
// one.
func TestSharedPseudonyms(t *testing.T) {
	var texts []string
	for range 2 {
		var out bytes.Buffer
		l := open(t, Config{}, Dependencies{Stdout: &out, Mask: mask(t, privacy.Pseudonym, privacy.Pseudonym, privacy.Pseudonym)})
		l.Record(person(t))
		closeLog(t, l)
		texts = append(texts, out.String())
	}
	if texts[0] != texts[1] {
		t.Errorf("one says\n%sthe other\n%s", texts[0], texts[1])
	}
}

// TestMaskedNoAllocations: hiding costs the writer no memory once it knows
// somebody.
func TestMaskedNoAllocations(t *testing.T) {
	e := newEncoder("default", newIDs(), mask(t, privacy.Pseudonym, privacy.Pseudonym, privacy.Pseudonym))
	var r record
	r.fill(typical(), start.UnixNano())
	block := make([]byte, 0, 4<<10)
	once := func() {
		var err error
		if block, err = e.append(block[:0], &r); err != nil {
			t.Fatal(err)
		}
	}
	once()
	if n := testing.AllocsPerRun(100, once); n > 0 {
		t.Errorf("%v allocations an entry", n)
	}
}
