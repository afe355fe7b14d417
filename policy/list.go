package policy

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// maxListData bounds a list, in bytes.
const maxListData = 512 << 20

// What a list says of a name, as List.find returns it.
const (
	listExact    = 1 << iota // the name itself is in the list
	listBelow                // every name under it is
	listNotExact             // the name itself is excepted
	listNotBelow             // every name under it is
)

// List is a big list of destinations: names by the million, and networks.
// ParseList makes it. It is immutable and safe for concurrent use, and may be
// compiled into any number of Programs.
type List struct {
	names    *nameTable
	networks []netip.Prefix
	length   int
}

// ListReport says what ParseList found.
type ListReport struct {
	Format       string         // domains, hosts, adblock or rpz
	Names        int            // distinct names that the list matches, or matches under
	Networks     int            // distinct networks that the list matches
	Exceptions   int            // distinct names and networks that the list excepts
	Skipped      int            // lines that were passed over
	SkippedBy    map[string]int // how many for which reason
	FirstSkipped []ListSkip     // the first few of them
}

// ListSkip is a line that was passed over.
type ListSkip struct {
	Position        // the line; file and column are not known
	Reason   string // a key of ListReport.SkippedBy
	Text     string // the line, shortened
}

// ParseList reads a list of destinations. Its format is recognised by what is
// in it:
//
//   - domains: one name a line, in the forms of the policy language (zoom.us for
//     the name and all under it, =zoom.us for it alone, *.zoom.us for what is
//     under it) or with a leading dot (.zoom.us, as Squid writes zoom.us);
//     addresses and CIDR networks are taken too
//   - hosts: an address that leads nowhere, then names (hosts(5)); they match
//     exactly
//   - adblock: ||name^ for the name and all under it, @@||name^ to except them
//   - rpz: a zone file of response policy triggers (draft-vixie-dnsop-dns-rpz):
//     names, wildcards and rpz-ip, blocked or passed through
//
// A line that cannot be used is passed over and counted, so that one bad line
// never takes down a feed of a million. It is an error where nothing at all
// can be used, or where the data is no list: a download that failed must not
// empty a list. The data is not kept and not changed.
func ParseList(data []byte) (*List, ListReport, error) {
	data, err := listText(data)
	if err != nil {
		return nil, ListReport{}, err
	}
	return parseListAs(recogniseList(data), data)
}

// parseListAs is ParseList for text whose format is known.
func parseListAs(format listFormat, data []byte) (*List, ListReport, error) {
	b := newListBuilder(format, data)
	if format == listRPZ {
		readZone(b, data)
	} else {
		b.readLines(data)
	}
	list, report := b.finish()
	if list.length == 0 {
		return nil, report, fmt.Errorf("the list has nothing that can be matched%s", report.whySkipped())
	}
	return list, report, nil
}

// listText refuses what is no text, and returns the text without its mark.
func listText(data []byte) ([]byte, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	start := bytes.TrimSpace(data[:min(len(data), 4096)])
	switch {
	case len(data) > maxListData:
		return nil, fmt.Errorf("the list has %d bytes: at most %d are read", len(data), maxListData)
	case bytes.HasPrefix(data, []byte("\x1f\x8b")):
		return nil, errors.New("the list is compressed with gzip: unpack it first")
	case bytes.IndexByte(data, 0) >= 0:
		return nil, errors.New("the list has NUL bytes: it is no text, or UTF-16; save it as UTF-8")
	case bytes.HasPrefix(start, []byte("<")):
		return nil, errors.New("the list begins like a web page: an error page was saved in its place")
	case bytes.HasPrefix(start, []byte("{")):
		return nil, errors.New("the list begins like JSON: save it as one domain a line")
	default:
		return data, nil
	}
}

// whySkipped says why lines were passed over, the most frequent reason first.
func (r *ListReport) whySkipped() string {
	if r.Skipped == 0 {
		return ": it is empty"
	}
	reasons := slices.SortedFunc(maps.Keys(r.SkippedBy), func(a, b string) int {
		if r.SkippedBy[a] != r.SkippedBy[b] {
			return r.SkippedBy[b] - r.SkippedBy[a]
		}
		return strings.Compare(a, b)
	})
	var text strings.Builder
	for i, reason := range reasons {
		separator := ", "
		if i == 0 {
			separator = ": "
		}
		fmt.Fprintf(&text, "%s%d times %s", separator, r.SkippedBy[reason], reason)
	}
	fmt.Fprintf(&text, "; first in line %d, %q", r.FirstSkipped[0].Line, r.FirstSkipped[0].Text)
	return text.String()
}

// Len is the number of names and networks that the list matches.
func (l *List) Len() int { return l.length }

// Networks are the addresses that the list matches, as sorted prefixes apart
// from one another: what the list excepts is cut out of them already. Do not
// change the slice.
func (l *List) Networks() []netip.Prefix { return l.networks }

// find returns what the list says of one suffix of a name: listExact and its
// siblings. A walk asks for each suffix; the longest that says anything
// decides, and what is said of the name itself before what is said of all
// under it.
func (l *List) find(hash uint64, suffix string) (flags uint8, ok bool) {
	if !l.names.mayHold(hash) {
		return 0, false
	}
	value, ok := l.names.findKept(hash, []byte(suffix))
	return uint8(value), ok
}

// contains reports whether the list matches a host. It is the plain statement
// of what a list means, for tests to compare the tables of a Program with.
func (l *List) contains(h Host) bool {
	if h.IsAddr() {
		return slices.ContainsFunc(l.networks, func(p netip.Prefix) bool { return p.Contains(h.addr) })
	}
	flags, _ := l.find(hashName(h.name), h.name)
	switch {
	case flags&listNotExact != 0:
		return false
	case flags&listExact != 0:
		return true
	}
	for _, above, ok := strings.Cut(h.name, "."); ok; _, above, ok = strings.Cut(above, ".") {
		flags, _ := l.find(hashName(above), above)
		switch {
		case flags&listNotBelow != 0:
			return false
		case flags&listBelow != 0:
			return true
		}
	}
	return false
}
