package policy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestParseList runs testdata/lists/*.txtar. Each archive holds a list, the
// report on it (format, four numbers, then counts of reasons that must be among
// those given), hosts that the list matches, and hosts that it does not.
func TestParseList(t *testing.T) {
	files, err := filepath.Glob("testdata/lists/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no lists found: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string]string{}
			for _, f := range archive.Files {
				parts[f.Name] = string(f.Data)
			}
			for name, text := range map[string]string{
				"as it is":    parts["list"],
				"with CRLF":   strings.ReplaceAll(parts["list"], "\n", "\r\n"),
				"with a mark": "\ufeff" + parts["list"],
				"without end": strings.TrimSuffix(parts["list"], "\n"),
			} {
				t.Run(name, func(t *testing.T) { checkList(t, text, parts) })
			}
		})
	}
}

func checkList(t *testing.T, text string, parts map[string]string) {
	list, report, err := ParseList([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	given := fmt.Sprintf("%s\nnames %d\nnetworks %d\nexceptions %d\nskipped %d\n",
		report.Format, report.Names, report.Networks, report.Exceptions, report.Skipped)
	want := strings.SplitAfter(parts["report"], "\n")
	if head := strings.Join(want[:min(len(want), 5)], ""); given != head {
		t.Errorf("report:\n%swant:\n%sskipped: %v", given, head, report.SkippedBy)
	}
	for _, line := range want[5:] {
		count, reason, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if ok && strconv.Itoa(report.SkippedBy[reason]) != count {
			t.Errorf("%d lines skipped for %q, want %s; skipped: %v", report.SkippedBy[reason], reason, count, report.SkippedBy)
		}
	}
	checkReport(t, list, report)
	for _, host := range strings.Fields(parts["matches"]) {
		if !list.contains(mustParseHost(t, host)) {
			t.Errorf("the list does not match %s", host)
		}
	}
	for _, host := range strings.Fields(parts["misses"]) {
		if list.contains(mustParseHost(t, host)) {
			t.Errorf("the list matches %s", host)
		}
	}
}

func mustParseHost(t testing.TB, text string) Host {
	t.Helper()
	h, err := ParseHost(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// checkReport holds for every list: the numbers fit together and what is
// counted can be found.
func checkReport(t *testing.T, list *List, report ListReport) {
	t.Helper()
	if list.Len() != report.Names+report.Networks || list.Len() == 0 {
		t.Errorf("length %d, but %d names and %d networks", list.Len(), report.Names, report.Networks)
	}
	skipped := 0
	for _, n := range report.SkippedBy {
		skipped += n
	}
	if skipped != report.Skipped || len(report.FirstSkipped) != min(skipped, firstSkips) {
		t.Errorf("%d skipped, %d by reason, %d places", report.Skipped, skipped, len(report.FirstSkipped))
	}
	for _, skip := range report.FirstSkipped {
		if skip.Line < 1 || report.SkippedBy[skip.Reason] == 0 || len(skip.Text) > skipText {
			t.Errorf("skipped line %+v", skip)
		}
	}
	checkNames(t, list, report)
	for i, p := range list.Networks() {
		if p != p.Masked() || i > 0 && p.Overlaps(list.Networks()[i-1]) {
			t.Errorf("network %v behind %v", p, list.Networks()[max(i-1, 0)])
		}
	}
}

func checkNames(t *testing.T, list *List, report ListReport) {
	t.Helper()
	matched := 0
	list.names.each(func(at uint32, stored []byte) {
		name, flags := string(stored), uint8(list.names.value(at))
		if found, ok := list.find(hashName(name), name); !ok || found != flags {
			t.Errorf("%q: find gives %d, %v, stored is %d", name, found, ok, flags)
		}
		if host, err := ParseHost(name); err != nil || host.Name() != name {
			t.Errorf("%q is not canonical: %q, %v", name, host, err)
		}
		if flags&(listExact|listBelow) != 0 {
			matched++
		}
		if want := flags&listExact != 0; flags&(listExact|listNotExact) != 0 && list.contains(Host{name: name}) != (want && flags&listNotExact == 0) {
			t.Errorf("%q with flags %d: contained %v", name, flags, !want)
		}
		under := "x-under." + name
		if _, own := list.find(hashName(under), under); !own && flags&(listBelow|listNotBelow) != 0 {
			if want := flags&listNotBelow == 0; list.contains(Host{name: under}) != want {
				t.Errorf("%q under %q with flags %d: contained %v", under, name, flags, !want)
			}
		}
	})
	if matched != report.Names {
		t.Errorf("%d names are there, %d are reported", matched, report.Names)
	}
}

func TestParseListRefuses(t *testing.T) {
	long := strings.Repeat("a", 64)
	for name, tc := range map[string]struct{ text, want string }{
		"empty":       {"", "nothing that can be matched: it is empty"},
		"comments":    {"# only\n\n! comments\n", "nothing that can be matched: it is empty"},
		"a web page":  {"\n<!DOCTYPE html>\n<html>\nexample.com\n", "web page"},
		"JSON":        {"{\"error\":\"rate limited\"}", "JSON"},
		"an error":    {"404: Not Found\n", `1 times more than one word; first in line 1, "404: Not Found"`},
		"NUL":         {"example.com\n\x00\n", "NUL"},
		"UTF-16":      {"\xff\xfee\x00x\x00", "NUL"},
		"gzip":        {"\x1f\x8b\x08rest", "unpack"},
		"no names":    {"one label\n" + long + ".example\n", "1 times more than one word, 1 times neither a name nor an address"},
		"two reasons": {"a b\nc d\nlabel\n", ": 2 times more than one word, 1 times a single label"},
		"one label":   {"Error\n", "a single label"},
		"only allows": {"@@||good.example^\n", "nothing that can be matched"},
		"covered":     {"||a.good.example^\n@@||good.example^\n", "nothing that can be matched"},
	} {
		list, _, err := ParseList([]byte(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) || list != nil {
			t.Errorf("%s: error %v, want one that says %q", name, err, tc.want)
		}
	}
}

func TestParseListTooLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("needs half a gigabyte of address space")
	}
	if _, err := listText(make([]byte, maxListData+1)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("error %v", err)
	}
}

// TestRecogniseList: what most lines look like decides, and comments do not.
func TestRecogniseList(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"a.example\nb.example\n||c.example^\n", "domains"},
		{"# 0.0.0.0 x\na.example # 0.0.0.0 b.example\n", "domains"},
		{"10.0.0.0/8\n192.0.2.1\n", "domains"},
		{"0.0.0.0 a.example\n0.0.0.0 b.example\nc.example\n", "hosts"},
		{"::1 localhost\n127.0.0.1 # nothing\n:: a.example\n", "hosts"},
		{"! title\n! licence\n||a.example^\n", "adblock"},
		{"[Adblock Plus]\na.example\nb.example\nc.example\n", "adblock"},
		{"a.example##.ad\nb.example\n@@||c.example^\n", "adblock"},
		{"; comment\na.example CNAME .\nb.example IN CNAME .\n", "rpz"},
		{"a.example\nb.example\n$TTL 60\n", "rpz"},
		{"@ 60 IN SOA a. b. 1 2 3 4 5\n", "rpz"},
		{"", "domains"},
	} {
		if got := recogniseList([]byte(tc.text)).String(); got != tc.want {
			t.Errorf("%q is %s, want %s", tc.text, got, tc.want)
		}
	}
}

// TestListAgainstMap compares with the plainest program that does the same.
func TestListAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	labels := []string{"a", "b", "cc", "example", "com", strings.Repeat("long", 15), "x-1", "_y"}
	random := func() string {
		parts := make([]string, 2+r.IntN(4))
		for i := range parts {
			parts[i] = labels[r.IntN(len(labels))]
		}
		return strings.Join(parts, ".")
	}
	for range 50 {
		suffix, exact, below := map[string]bool{}, map[string]bool{}, map[string]bool{}
		var text strings.Builder
		for range 1 + r.IntN(60) {
			name, form := random(), r.IntN(3)
			fmt.Fprintf(&text, "%s%s\n", []string{"", "=", "*."}[form], name)
			[]map[string]bool{suffix, exact, below}[form][name] = true
		}
		list, _, err := ParseList([]byte(text.String()))
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			name := random()
			want := exact[name] || suffix[name]
			for _, above, ok := strings.Cut(name, "."); ok; _, above, ok = strings.Cut(above, ".") {
				want = want || suffix[above] || below[above]
			}
			if got := list.contains(Host{name: name}); got != want {
				t.Fatalf("%q in\n%s: %v, want %v", name, text.String(), got, want)
			}
		}
	}
}

// TestListNetworksAgainstScan: the longest of blocked and excepted prefixes
// decides in a zone, any exception in an adblock list.
func TestListNetworksAgainstScan(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 10))
	for round := range 200 {
		format := []listFormat{listRPZ, listAdblock}[round%2]
		b := newListBuilder(format, nil)
		bases := randomBases(r)
		for range r.IntN(30) {
			flags := uint32(listExact)
			if r.IntN(3) == 0 {
				flags = listNotExact
			}
			if p := randomPrefix(r, bases); !p.Addr().Is4In6() && p.Bits() > 0 {
				b.addNetwork(p, flags)
			}
		}
		blocked, allowed := slices.Clone(b.blocked), slices.Clone(b.allowed)
		list, _ := b.finish()
		for _, a := range probes(r, slices.Concat(blocked, allowed), bases) {
			if a.Is4In6() {
				continue
			}
			in, out := longest(blocked, a), longest(allowed, a)
			want := in > out
			if format == listAdblock {
				want = in >= 0 && out < 0
			}
			if got := list.contains(HostFromAddr(a)); got != want {
				t.Fatalf("%s: %v among %v less %v: %v, want %v (networks %v)", format, a, blocked, allowed, got, want, list.Networks())
			}
		}
	}
}

// longest is the length of the longest prefix that contains an address, or -1.
func longest(prefixes []netip.Prefix, a netip.Addr) int {
	best := -1
	for _, p := range prefixes {
		if p.Contains(a) {
			best = max(best, p.Bits())
		}
	}
	return best
}

// TestListMemory: the budget of a million names is 48 MB held, and twice that
// while they are read.
func TestListMemory(t *testing.T) {
	const (
		names    = 200_000
		heldEach = 48
		peakEach = 96
	)
	data := listOfNames(names)
	runtime.GC()
	var before, after, held runtime.MemStats
	runtime.ReadMemStats(&before)
	list, _, err := ParseList(data)
	runtime.ReadMemStats(&after)
	runtime.GC()
	runtime.ReadMemStats(&held)
	if err != nil || list.Len() != names {
		t.Fatalf("%v names, %v", list.Len(), err)
	}
	if each := (after.TotalAlloc - before.TotalAlloc) / names; each > peakEach {
		t.Errorf("%d bytes a name were allocated in all, the budget is %d", each, peakEach)
	}
	if each := (int64(held.HeapAlloc) - int64(before.HeapAlloc)) / names; each > heldEach {
		t.Errorf("%d bytes a name are held, the budget is %d", each, heldEach)
	}
	runtime.KeepAlive(data)
	runtime.KeepAlive(list)
}

// TestListFindAllocatesNothing, hits and misses, long names and short.
func TestListFindAllocatesNothing(t *testing.T) {
	long := strings.Repeat("label.", 30) + "example.com"
	list, _, err := ParseList([]byte("zoom.us\n" + long + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"zoom.us", long, "x." + long, "absent.example"}
	if n := testing.AllocsPerRun(100, func() {
		for _, name := range names {
			list.find(hashName(name), name)
		}
	}); n != 0 {
		t.Errorf("find allocates %v times, want 0", n)
	}
}

// TestParseListAllocatesPerListNotPerLine.
func TestParseListAllocatesPerListNotPerLine(t *testing.T) {
	for format, line := range map[string]string{
		"domains": "%s\n", "hosts": "0.0.0.0 %s\n", "adblock": "||%s^\n", "rpz": "%[1]s CNAME .\n*.%[1]s CNAME .\n",
	} {
		var text strings.Builder
		for name := range strings.FieldsSeq(string(listOfNames(5000))) {
			fmt.Fprintf(&text, line, name)
		}
		data := []byte(text.String())
		allocs := testing.AllocsPerRun(3, func() {
			if _, report, err := ParseList(data); err != nil || report.Names != 5000 || report.Format != format {
				t.Fatalf("%s: %+v, %v", format, report, err)
			}
		})
		if allocs > 100 {
			t.Errorf("%s: %v allocations for 5000 names", format, allocs)
		}
	}
}

func FuzzParseList(f *testing.F) {
	files, _ := filepath.Glob("testdata/lists/*.txtar")
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := string(data)
		list, report, err := ParseList(data)
		if string(data) != before {
			t.Fatal("the data was changed")
		}
		if err == nil {
			checkReport(t, list, report)
		}
	})
}

// The recognisers one by one, so that each is driven with what is none of its
// own too.
func FuzzParseListDomains(f *testing.F) { fuzzListFormat(f, listDomains) }
func FuzzParseListHosts(f *testing.F)   { fuzzListFormat(f, listHosts) }
func FuzzParseListAdblock(f *testing.F) { fuzzListFormat(f, listAdblock) }
func FuzzParseListRPZ(f *testing.F)     { fuzzListFormat(f, listRPZ) }

func fuzzListFormat(f *testing.F, format listFormat) {
	archives := map[listFormat]string{listDomains: "domains", listHosts: "hosts", listAdblock: "adblock", listRPZ: "rpz"}
	archive, err := txtar.ParseFile("testdata/lists/" + archives[format] + ".txtar")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(archive.Files[0].Data)) {
		f.Add([]byte(line))
	}
	f.Add(archive.Files[0].Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		list, report, err := parseListAs(format, data)
		if err != nil {
			return
		}
		if report.Format != format.String() {
			t.Errorf("format %q, want %q", report.Format, format)
		}
		checkReport(t, list, report)
	})
}

// listOfNames is n distinct names of the lengths that lists have, one a line.
func listOfNames(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	ends := []string{"com", "net", "org", "example", "co.uk", "info", "xyz"}
	seen := make(map[string]bool, n)
	for len(seen) < n {
		label := make([]byte, 6+r.IntN(14))
		for i := range label {
			label[i] = byte('a' + r.IntN(26))
		}
		seen[string(label)+"."+ends[r.IntN(len(ends))]] = true
	}
	return []byte(strings.Join(slices.Sorted(maps.Keys(seen)), "\n"))
}

// BenchmarkList: a walk asks a list about every suffix of a name, most of
// which it does not hold.
func BenchmarkList(b *testing.B) {
	data := listOfNames(1_000_000)
	list, _, err := ParseList(data)
	if err != nil {
		b.Fatal(err)
	}
	names := strings.Fields(string(data))
	r := rand.New(rand.NewPCG(3, 4))
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	const asked = 1 << 15
	for name, prefix := range map[string]string{"hit": "www.eu.", "cold_miss": "www.q-"} {
		var ask []string
		for _, n := range names[:asked] {
			ask = append(ask, strings.Clone(prefix+n))
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				walkList(list, ask[i%asked])
			}
		})
	}
	b.Run("hot_miss", func(b *testing.B) {
		for b.Loop() {
			walkList(list, "static.cdn.example.com")
		}
	})
}

// walkList is the walk of a decision, for one list.
func walkList(list *List, name string) (flags uint8) {
	var hash uint64
	for end := len(name); end > 0; {
		start := strings.LastIndexByte(name[:end], '.') + 1
		hash = extendHash(hash, name[start:end])
		found, _ := list.find(hash, name[start:])
		flags |= found
		end = start - 1
	}
	return flags
}

func BenchmarkListFormats(b *testing.B) {
	names := strings.Fields(string(listOfNames(100_000)))
	for format, line := range map[string]string{
		"domains": "%s\n", "hosts": "0.0.0.0 %s\n", "adblock": "||%s^\n", "rpz": "%[1]s CNAME .\n*.%[1]s CNAME .\n",
	} {
		var text strings.Builder
		for _, name := range names {
			fmt.Fprintf(&text, line, name)
		}
		data := []byte(text.String())
		b.Run(format+"_100k", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, _, err := ParseList(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
