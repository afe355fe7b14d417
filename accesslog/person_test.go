package accesslog

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/privacy"
)

// masked hides clients and users alike, under a key that golden files know.
func masked(t testing.TB, extent privacy.Extent) *privacy.Mask {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pseudonym.key")
	if err := os.WriteFile(path, []byte(strings.Repeat("0123456789abcdef", 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := privacy.ReadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	return privacy.New(privacy.Config{Extents: privacy.Extents{Client: extent, User: extent}, Key: key})
}

// TestHidden: nothing of who asked is in a line, and a full mask changes nothing.
func TestHidden(t *testing.T) {
	plain := form{zone: time.UTC}
	full := form{zone: time.UTC, mask: masked(t, privacy.Full)}
	for _, e := range sample() {
		for name, of := range map[string]func(*form) []byte{
			"squid":    func(f *form) []byte { return f.appendSquid([]byte("before "), &e) },
			"combined": func(f *form) []byte { return f.appendCombined([]byte("before "), &e) },
		} {
			want := of(&plain)
			if got := of(&full); !bytes.Equal(got, want) {
				t.Errorf("%s, full: got  %s\nwant %s", name, got, want)
			}
			for _, extent := range []privacy.Extent{privacy.Pseudonym, privacy.None} {
				line := string(of(&form{zone: time.UTC, mask: masked(t, extent)}))
				for _, who := range []string{desk.String(), "fd00:28::7", "alice", "eve"} {
					if strings.Contains(line, who) {
						t.Errorf("%s, %s: %s is in %s", name, extent, who, line)
					}
				}
				if got, want := len(strings.Fields(line)), len(strings.Fields(string(want))); got != want {
					t.Errorf("%s, %s: %d fields instead of %d: %s", name, extent, got, want, line)
				}
			}
		}
	}
}

// TestPseudonymOfTheBeginning: a meeting past midnight is under the pseudonym
// under which it began, as in the decision log.
func TestPseudonymOfTheBeginning(t *testing.T) {
	mask := masked(t, privacy.Pseudonym)
	f := form{zone: time.UTC, mask: mask}
	midnight := time.Date(2020, 3, 29, 0, 0, 0, 0, time.UTC)
	client := func(end time.Time, took time.Duration) string {
		e := tunnel()
		e.End, e.Duration, e.Client = end, took, netip.AddrFrom16(desk.As16())
		return strings.Fields(string(f.appendSquid(nil, &e)))[2]
	}
	evening, _ := mask.AppendClient(nil, desk, midnight.Add(-time.Hour))
	morning, _ := mask.AppendClient(nil, desk, midnight)
	for _, test := range []struct {
		end  time.Time
		took time.Duration
		want []byte
	}{
		{midnight.Add(-time.Minute), time.Second, evening},
		{midnight.Add(time.Minute), time.Hour, evening},
		{midnight, time.Millisecond, evening},
		{midnight, 0, morning},
		{midnight.Add(time.Hour), time.Hour, morning},
		{midnight, -time.Hour, morning}, // a clock was set back
	} {
		if got := client(test.end, test.took); got != string(test.want) {
			t.Errorf("ended %s after %s: got %s, want %s", test.end, test.took, got, test.want)
		}
	}
}
