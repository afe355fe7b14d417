package policy_test

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/policy"
)

func TestParseHost(t *testing.T) {
	data, err := os.ReadFile("testdata/hosts/hosts.txt")
	if err != nil {
		t.Fatal(err)
	}
	for n, line := range strings.Split(string(data), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		quoted, want, ok := strings.Cut(line, " => ")
		input, err := strconv.Unquote(quoted)
		if !ok || err != nil {
			t.Fatalf("hosts.txt:%d: %q: %v", n+1, line, err)
		}
		host, err := policy.ParseHost(input)
		message, refused := strings.CutPrefix(want, "error ")
		switch {
		case refused && err == nil:
			t.Errorf("hosts.txt:%d: ParseHost(%s) = %s, want an error", n+1, quoted, host)
		case refused && !strings.Contains(err.Error(), message):
			t.Errorf("hosts.txt:%d: ParseHost(%s): %v, want %q", n+1, quoted, err, message)
		case !refused && (err != nil || host.String() != want):
			t.Errorf("hosts.txt:%d: ParseHost(%s) = %q, %v, want %s", n+1, quoted, host, err, want)
		}
	}
}

func TestParseHostBoundsLength(t *testing.T) {
	label := strings.Repeat("a", 49) + "."
	fits := strings.Repeat(label, 5) + "abc" // 253
	if _, err := policy.ParseHost(fits + "."); err != nil {
		t.Errorf("%d characters: %v", len(fits), err)
	}
	if h, err := policy.ParseHost(fits + "d"); err == nil {
		t.Errorf("254 characters give %s", h)
	}
	if h, err := policy.ParseHost(strings.Repeat("ü.", 2000)); err == nil {
		t.Errorf("4000 labels give %s", h)
	}
	if h, err := policy.ParseHost(strings.Repeat("üüüüüü.", 40) + "us"); err == nil {
		t.Errorf("a long name after mapping gives %s", h)
	}
}

func TestParseHostOfCanonicalNameAllocatesNothing(t *testing.T) {
	for _, name := range []string{"us04web.zoom.us", "us04web.zoom.us.", "3.7.35.1", "0x03.07.043.1", "50799361"} {
		if n := testing.AllocsPerRun(100, func() { _, _ = policy.ParseHost(name) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestHostMarshalsAsText(t *testing.T) {
	host, err := policy.ParseHost("[2620:123::1]")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(host)
	if err != nil || string(got) != `"2620:123::1"` {
		t.Errorf("got %s, %v", got, err)
	}
}

// FuzzParseHost asks that a host has one form: what ParseHost gives, it takes
// back unchanged, and a name is lower case, bounded and without a final dot.
func FuzzParseHost(f *testing.F) {
	data, err := os.ReadFile("testdata/hosts/hosts.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if quoted, _, ok := strings.Cut(line, " => "); ok {
			if input, err := strconv.Unquote(quoted); err == nil {
				f.Add(input)
			}
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := policy.ParseHost(s)
		if err != nil {
			if !host.IsZero() {
				t.Errorf("%q: an error and %v", s, host)
			}
			return
		}
		again, err := policy.ParseHost(host.String())
		if err != nil || again != host {
			t.Errorf("%q gives %q, which gives %q, %v", s, host, again, err)
		}
		if host.IsAddr() {
			if host.Name() != "" || host.Addr().Zone() != "" || host.Addr().Is4In6() {
				t.Errorf("%q gives the address %v", s, host)
			}
			return
		}
		name := host.Name()
		if name == "" || len(name) > 253 || name != strings.ToLower(name) || strings.HasSuffix(name, ".") {
			t.Errorf("%q gives the name %q", s, name)
		}
		for _, label := range strings.Split(name, ".") {
			if label == "" || len(label) > 63 {
				t.Errorf("%q gives the label %q", s, label)
			}
		}
	})
}
