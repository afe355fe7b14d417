package localdata

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// hostsOf writes a hosts file and returns its path.
func hostsOf(t testing.TB, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hosts")
	writeHostsFile(t, path, lines...)
	return path
}

func writeHostsFile(t testing.TB, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHosts(t *testing.T) {
	first := hostsOf(t,
		"\xEF\xBB\xBF# written by an editor that marks its files",
		"127.0.0.1 localhost",
		"::1 localhost ip6-localhost ip6-loopback",
		"ff02::1 ip6-allnodes",
		"fe80::1%lo0 localhost",
		"127.0.1.1 thismachine",
		"255.255.255.255 broadcasthost",
		"",
		"10.0.0.5\tNAS.corp.example nas # the shelf\r",
		"fd00::5 nas.corp.example. nas",
		"10.0.0.5 second.corp.example",
		"10.0.0.6 nas.corp.example",
		"::ffff:10.0.0.7 mapped.corp.example",
		"0.0.0.0 0.0.0.0 ads.example under_score.example",
		"127.0.0.1 tracker.example",
		"10.1.2.3 a.b.home.arpa",
	)
	second := hostsOf(t, "10.0.0.9 nas", "10.0.0.5 other.example", "203.0.114.7 public.example")
	d := made(t, Config{Hosts: []string{first, second}})
	asks(t, d, [][2]string{
		{"nas.corp.example A", "NOERROR | nas.corp.example. 60 A 10.0.0.5 | nas.corp.example. 60 A 10.0.0.6"},
		{"nas.corp.example AAAA", "NOERROR | nas.corp.example. 60 AAAA fd00::5"},
		{"nas.corp.example HTTPS", "NOERROR | soa nas.corp.example."},
		{"NAS A", "NOERROR | nas. 60 A 10.0.0.5 | nas. 60 A 10.0.0.9"},
		{"nas ANY", "NOERROR | nas. 60 A 10.0.0.5 | nas. 60 AAAA fd00::5 | nas. 60 A 10.0.0.9"},
		{"mapped.corp.example A", "NOERROR | mapped.corp.example. 60 A 10.0.0.7"},
		{"mapped.corp.example AAAA", "NOERROR | soa mapped.corp.example."},
		{"corp.example A", "upstream"},
		{"x.nas.corp.example A", "upstream"},
		{"ads.example A", "NOERROR | ads.example. 60 A 0.0.0.0"},
		{"ads.example AAAA", "NOERROR | soa ads.example."},
		{"under_score.example A", "NOERROR | under_score.example. 60 A 0.0.0.0"},
		{"tracker.example A", "NOERROR | tracker.example. 60 A 127.0.0.1"},
		{"thismachine A", "upstream"},
		{"ip6-localhost AAAA", "upstream"},
		{"ip6-allnodes AAAA", "upstream"},
		{"localhost A", "NOERROR | localhost. 86400 A 127.0.0.1"},

		{"5.0.0.10.in-addr.arpa PTR", "NOERROR | 5.0.0.10.in-addr.arpa. 60 PTR nas.corp.example."},
		{"5.0.0.10.in-addr.arpa A", "NOERROR | soa 10.in-addr.arpa."},
		{"0.0.10.in-addr.arpa PTR", "NOERROR | soa 10.in-addr.arpa."}, // has hosts below it
		{"0.10.in-addr.arpa PTR", "NOERROR | soa 10.in-addr.arpa."},
		{"9.9.0.10.in-addr.arpa PTR", "NXDOMAIN | soa 10.in-addr.arpa."},
		{"2.10.in-addr.arpa PTR", "NXDOMAIN | soa 10.in-addr.arpa."},
		{"05.0.0.10.in-addr.arpa PTR", "NXDOMAIN | soa 10.in-addr.arpa."},
		{"1.0.0.127.in-addr.arpa PTR", "NOERROR | 1.0.0.127.in-addr.arpa. 86400 PTR localhost."},
		{"7.114.0.203.in-addr.arpa PTR", "NOERROR | 7.114.0.203.in-addr.arpa. 60 PTR public.example."},
		{"7.114.0.203.in-addr.arpa TXT", "NOERROR | soa 7.114.0.203.in-addr.arpa."},
		{"8.114.0.203.in-addr.arpa PTR", "upstream"},
		{"5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa PTR", "NOERROR | 5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. 60 PTR nas.corp.example."},
		{"0.0.d.f.ip6.arpa PTR", "NOERROR | soa d.f.ip6.arpa."},
		{"1.0.d.f.ip6.arpa PTR", "NXDOMAIN | soa d.f.ip6.arpa."},

		{"a.b.home.arpa A", "NOERROR | a.b.home.arpa. 60 A 10.1.2.3"},
		{"b.home.arpa A", "NOERROR | soa home.arpa."}, // has a host below it
		{"c.home.arpa A", "NXDOMAIN | soa home.arpa."},
	})
}

// Records and hosts files speak of one name together; what a record says of a
// type, it says alone.
func TestHostsBesideRecords(t *testing.T) {
	d := made(t, Config{
		Hosts: []string{hostsOf(t, "10.0.0.5 a.example b.example c.example w.lab.example", "10.0.0.6 d.example")},
		Records: []string{
			"a.example. 30 IN TXT a",
			"b.example. 30 IN A 10.9.9.9",
			"c.example. 30 IN CNAME a.example.",
			"*.lab.example. 30 IN TXT wild",
			"e.example. 30 IN CNAME d.example.",
			"6.0.0.10.in-addr.arpa. 30 IN PTR written.example.",
		},
	})
	asks(t, d, [][2]string{
		{"a.example A", "NOERROR | a.example. 60 A 10.0.0.5"},
		{"a.example TXT", `NOERROR | a.example. 30 TXT "a"`},
		{"a.example ANY", `NOERROR | a.example. 30 TXT "a" | a.example. 60 A 10.0.0.5`},
		{"b.example A", "NOERROR | b.example. 30 A 10.9.9.9"},
		{"c.example A", "NOERROR | c.example. 30 CNAME a.example. | a.example. 60 A 10.0.0.5"},
		{"w.lab.example TXT", "NOERROR | soa w.lab.example."},
		{"v.lab.example TXT", `NOERROR | v.lab.example. 30 TXT "wild"`},
		{"e.example A", "NOERROR | e.example. 30 CNAME d.example. | d.example. 60 A 10.0.0.6"},
		{"6.0.0.10.in-addr.arpa PTR", "NOERROR | 6.0.0.10.in-addr.arpa. 30 PTR written.example."},
	})
}

func TestHostsMistakes(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"10.0.0.5", "line 2: address 10.0.0.5 has no name"},
		{"10.0.0 nas", `line 2: "10.0.0" is no address`},
		{"nas 10.0.0.5", `"nas" is no address`},
		{"10.0.0.5 *.example", "dns.records"},
		{"10.0.0.5 b\u00fccher.example", "xn--"},
		{"10.0.0.5 a..b", "label is empty"},
		{"10.0.0.5 .", "no name of a host"},
		{"10.0.0.5 a:b", "is no name"},
		{"10.0.0.5 a/b", "is no name"},
		{"10.0.0.5 " + strings.Repeat("a", 64), "longer than 63"},
		{"10.0.0.5 " + strings.Repeat("a", 70_000), "line 2: bufio.Scanner: token too long"},
	} {
		path := hostsOf(t, "10.0.0.1 fine.example", c.line)
		_, err := New(Config{Hosts: []string{path}})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.60q: %v\nwant %q", c.line, err, c.want)
		}
	}
	var many []string
	for i := range maxAddrs + 1 {
		many = append(many, fmt.Sprintf("10.0.0.%d many.example", i))
	}
	if _, err := New(Config{Hosts: []string{hostsOf(t, many...)}}); err == nil || !strings.Contains(err.Error(), "more than 64 addresses") {
		t.Error(err)
	}
	if _, err := New(Config{Hosts: []string{hostsOf(t, many[:maxAddrs]...)}}); err != nil {
		t.Error(err)
	}
}

func TestHostsFileMistakes(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "missing"), dir} {
		if _, err := New(Config{Hosts: []string{path}}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := New(Config{Hosts: make([]string, maxHostsFiles+1)}); err == nil {
		t.Error("any number of files is taken")
	}
}

// The bounds hold on the reader, whatever a file's size says.
func TestHostsBounds(t *testing.T) {
	const text = "0.0.0.0 a.example\n0.0.0.0 b.example c.example\n"
	for _, c := range []struct {
		limits hostsLimits
		want   string
	}{
		{hostsLimits{bytes: int64(len(text)), entries: 3}, ""},
		{hostsLimits{bytes: int64(len(text)) - 1, entries: 3}, "larger than"},
		{hostsLimits{bytes: int64(len(text)), entries: 2}, "line 2: more than 2 entries"},
	} {
		_, err := parseHosts(strings.NewReader(text), c.limits)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.limits, err, c.want)
		}
	}
}

func TestReload(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	writeHostsFile(t, one, "10.0.0.1 one.example")
	writeHostsFile(t, two, "10.0.0.2 two.example")
	d := made(t, Config{Hosts: []string{one, two}, Records: []string{"r.example. 60 IN A 10.0.0.3"}})

	reload := func(want string) {
		t.Helper()
		next, err := d.Reload()
		switch {
		case want == "" && err != nil:
			t.Fatal(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Fatalf("%v, want %q", err, want)
		}
		again, err := next.Reload()
		if again != next || err != nil {
			t.Fatalf("a second look without a change: %v", err)
		}
		d = next
	}
	expect := func(first, second string) {
		t.Helper()
		asks(t, d, [][2]string{{"one.example A", first}, {"two.example A", second}, {"r.example A", "NOERROR | r.example. 60 A 10.0.0.3"}})
	}
	const one1, two2 = "NOERROR | one.example. 60 A 10.0.0.1", "NOERROR | two.example. 60 A 10.0.0.2"

	before := d
	reload("")
	if d != before {
		t.Error("a new Data though nothing changed")
	}
	writeHostsFile(t, one, "10.0.0.11 one.example")
	reload("")
	expect("NOERROR | one.example. 60 A 10.0.0.11", two2)
	if got := ask(t, before, "one.example A"); got != one1 {
		t.Errorf("a Data has changed: %s", got)
	}
	writeHostsFile(t, one, "broken")
	writeHostsFile(t, two, "10.0.0.22 two.example", "")
	reload("no address")
	expect("NOERROR | one.example. 60 A 10.0.0.11", "NOERROR | two.example. 60 A 10.0.0.22")
	if err := os.Remove(one); err != nil {
		t.Fatal(err)
	}
	reload("create it, or take it out of dns.hosts")
	expect("NOERROR | one.example. 60 A 10.0.0.11", "NOERROR | two.example. 60 A 10.0.0.22")
	writeHostsFile(t, one, "10.0.0.1 one.example")
	reload("")
	expect(one1, "NOERROR | two.example. 60 A 10.0.0.22")

	// The same size and a new time: an edit within a word.
	writeHostsFile(t, one, "10.0.0.9 one.example")
	if err := os.Chtimes(one, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	reload("")
	expect("NOERROR | one.example. 60 A 10.0.0.9", "NOERROR | two.example. 60 A 10.0.0.22")

	// Replaced by rename, as careful editors do, with the old one's time.
	info, err := os.Stat(one)
	if err != nil {
		t.Fatal(err)
	}
	writeHostsFile(t, one+".new", "10.0.0.8 one.example")
	if err := os.Chtimes(one+".new", time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(one+".new", one); err != nil {
		t.Fatal(err)
	}
	reload("")
	expect("NOERROR | one.example. 60 A 10.0.0.8", "NOERROR | two.example. 60 A 10.0.0.22")
}

// One Data answers many at once, while files are read again.
func TestConcurrentUse(t *testing.T) {
	d := made(t, Config{
		Hosts:   []string{hostsOf(t, "10.0.0.5 nas.example")},
		Records: []string{"a.example. 60 IN CNAME nas.example."},
	})
	asked := wire(t, "a.example")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				reply, ours := d.Answer(asked, dns.TypeA)
				if !ours || len(reply.Answer) != 2 {
					t.Error("no answer")
					return
				}
				for _, rr := range reply.Answer {
					rr.Header().Ttl = 1
				}
				if _, err := d.Reload(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func FuzzHosts(f *testing.F) {
	for _, seed := range []string{
		"10.0.0.5 nas.corp.example nas # the shelf\n", "::1 localhost\n", "fe80::1%lo0 x\n", "\xEF\xBB\xBF127.0.0.1 a",
		"0.0.0.0 0.0.0.0\n", "1.2.3.4\n", "::ffff:1.2.3.4 a.\n", "10.0.0.1 b\\046c", "10.0.0.1 a..b", "10.0.0.1 x.home.arpa\n10.0.0.1 y",
	} {
		f.Add(seed)
	}
	t0 := made(f, Config{}).tree
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHosts(strings.NewReader(text), fileLimits())
		if err != nil {
			return
		}
		h.finish(t0)
		d := &Data{tree: t0, files: []hostsFile{{held: h}}}
		for name := range h.names {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeANY} {
				reply, ours := d.Answer(name, qtype)
				if !ours || reply.Rcode != dns.RcodeSuccess || len(reply.Answer)+len(reply.Ns) == 0 {
					t.Fatalf("%q: ours %v, %v", name, ours, reply)
				}
				if qtype == dns.TypeANY && len(reply.Answer) == 0 {
					t.Fatalf("%q has no address", name)
				}
				if _, err := reply.Pack(); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, p := range h.pointers {
			if i > 0 && comparePointers(h.pointers[i-1], p) >= 0 {
				t.Fatal("pointers are out of order")
			}
			if name, _ := h.pointer(p.addr, 128); name != p.name {
				t.Fatalf("%x is %q and found as %q", p.addr, p.name, name)
			}
		}
	})
}
