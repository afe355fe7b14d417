package localdata

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

const (
	defaultTTL  = 300     // of a record that names none
	maxRecords  = 100_000 // in all, $GENERATE counted as what it makes
	maxChain    = 8       // aliases from one question to its answer
	maxProblems = 10      // told at once
)

// RecordError is what is wrong with one of Config.Records.
type RecordError struct {
	Index int    // in Config.Records
	Text  string // that entry
	Err   error  // what is wrong, and what would be right
}

// Error counts entries as people do, from 1.
func (e *RecordError) Error() string {
	return fmt.Sprintf("record %d %q: %v", e.Index+1, e.Text, e.Err)
}

// Unwrap returns what is wrong.
func (e *RecordError) Unwrap() error { return e.Err }

var errNoRecord = errors.New(`no record in it: write owner, TTL, class, type and data, such as "nas.corp.example. 300 IN A 10.0.0.5"`)

// record is one parsed record and where it came from.
type record struct {
	owner string // lower wire
	rr    dns.RR
	index int // in Config.Records
}

// parseRecords reads all entries and returns every problem, up to a bound.
func parseRecords(entries []string) ([]record, error) {
	var records []record
	var problems []error
	for i, text := range entries {
		parsed, err := parseEntry(text, maxRecords-len(records))
		if err != nil {
			problems = append(problems, &RecordError{Index: i, Text: text, Err: err})
			if len(problems) == maxProblems {
				break
			}
			continue
		}
		for _, rr := range parsed {
			owner, err := wireOf(rr.Header().Name)
			if err != nil {
				return nil, &RecordError{Index: i, Text: text, Err: err}
			}
			records = append(records, record{owner: owner, rr: rr, index: i})
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return records, nil
}

// parseEntry reads one entry, which may be several lines.
func parseEntry(text string, room int) ([]dns.RR, error) {
	parser := dns.NewZoneParser(strings.NewReader(text), ".", "")
	parser.SetDefaultTTL(defaultTTL)
	var parsed []dns.RR
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if len(parsed) == room {
			return nil, fmt.Errorf("more than %d records in all: serve so many from a name server and name its zone in dns.forward", maxRecords)
		}
		rr, err := normal(rr)
		if err != nil {
			return nil, err
		}
		if err := servable(rr); err != nil {
			return nil, err
		}
		parsed = append(parsed, rr)
	}
	if err := parser.Err(); err != nil {
		return nil, fmt.Errorf(`%w: a record is owner, TTL, class, type and data, such as "nas.corp.example. 300 IN A 10.0.0.5"`, err)
	}
	if len(parsed) == 0 {
		return nil, errNoRecord
	}
	return parsed, nil
}

// normal writes a record and reads it back, so that its names are escaped in
// the one way in which messages are, and nothing is kept that cannot be sent.
func normal(rr dns.RR) (dns.RR, error) {
	if rr.Header().Name == "" {
		return nil, errNoRecord
	}
	buf := make([]byte, dns.Len(rr)) // uncompressed: never too small
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("write the record: %w", err)
	}
	again, _, err := dns.UnpackRR(buf[:n], 0)
	if err != nil {
		return nil, fmt.Errorf("read the record back: %w", err)
	}
	return again, nil
}

// servable refuses what makes no sense as local data.
func servable(rr dns.RR) error {
	h := rr.Header()
	if h.Class != dns.ClassINET {
		return fmt.Errorf("class %s: only IN is served", dns.Class(h.Class))
	}
	if h.Ttl > 1<<31-1 {
		return fmt.Errorf("TTL %d: at most %d (RFC 2181 §8)", h.Ttl, 1<<31-1)
	}
	if h.Name == "." || h.Name == "*." {
		return fmt.Errorf("owner %q: the root and everything below it are not ours; name a domain", h.Name)
	}
	if strings.Trim(h.Name, "0123456789") == "." {
		return fmt.Errorf("owner %q: that looks like a TTL; the owner's name comes first", h.Name)
	}
	switch h.Rrtype {
	case dns.TypeDNAME:
		return errors.New("DNAME is not served here: write a CNAME for each name, or one for a wildcard (*.old.example.)")
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM:
		return fmt.Errorf("%s belongs to signed zones, and records here are not signed: serve the zone from a name server and name it in dns.forward", dns.Type(h.Rrtype))
	case dns.TypeSOA:
		if strings.HasPrefix(h.Name, "*.") {
			return errors.New("a wildcard owns no SOA (RFC 4592 §4.1): write the zone's own name")
		}
	}
	return nil
}

// checkOwners looks at records together: an alias stands alone (RFC 2181
// §10.1), a zone has one SOA, and names that are always special have none.
func (t *tree) checkOwners(entries []string, records []record) error {
	var problems []error
	complain := func(r record, format string, args ...any) {
		if len(problems) < maxProblems {
			problems = append(problems, &RecordError{Index: r.index, Text: entries[r.index], Err: fmt.Errorf(format, args...)})
		}
	}
	for _, r := range records {
		n := t.nodes[r.owner]
		name := r.rr.Header().Name
		switch {
		case r.rr.Header().Rrtype == dns.TypeCNAME && len(n.sets) > 1:
			complain(r, "%s is an alias and has other records too: keep one or the other", name)
		case r.rr.Header().Rrtype == dns.TypeCNAME && len(n.set(dns.TypeCNAME)) > 1:
			complain(r, "%s is an alias of two names: keep one", name)
		case r.rr.Header().Rrtype == dns.TypeSOA && len(n.set(dns.TypeSOA)) > 1:
			complain(r, "%s has two SOA records: keep one", name)
		case r.rr.Header().Rrtype == dns.TypeSOA && n.forwarded:
			complain(r, "%s is in dns.forward too, and a zone is either ours or theirs: leave out the SOA or the forwarding", name)
		}
		if special, why := alwaysSpecial(r.owner); special {
			complain(r, "%s %s: use another name", name, why)
		}
	}
	return errors.Join(problems...)
}

// checkChains refuses aliases that lead to themselves, or too far.
func (t *tree) checkChains(entries []string, records []record) error {
	for _, r := range records {
		alias, ok := r.rr.(*dns.CNAME)
		if !ok {
			continue
		}
		for steps := 1; ok; steps++ {
			if steps > maxChain {
				return &RecordError{Index: r.index, Text: entries[r.index], Err: fmt.Errorf("its aliases go round in a circle, or further than %d steps: point it at the last name", maxChain)}
			}
			target, err := wireOf(alias.Target)
			if err != nil {
				return &RecordError{Index: r.index, Text: entries[r.index], Err: err}
			}
			alias, ok = t.find(target).alias()
		}
	}
	return nil
}

// alias returns the alias that stands at a place, written or by wildcard.
func (p place) alias() (*dns.CNAME, bool) {
	n := p.node
	if n == nil {
		n = p.source
	}
	if n == nil {
		return nil, false
	}
	set := n.set(dnswire.TypeCNAME)
	if len(set) == 0 {
		return nil, false
	}
	return set[0].(*dns.CNAME), true
}
