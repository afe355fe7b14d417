package localdata

import (
	"errors"
	"fmt"

	"github.com/miekg/dns"
)

// Data is local knowledge, see the package. It never changes; safe for
// concurrent use.
type Data struct {
	tree  *tree
	files []hostsFile
}

// New reads the records and the hosts files. The error says all that is wrong,
// up to a bound; records are in it as *RecordError.
func New(c Config) (*Data, error) {
	t, err := newTree(&c)
	if err != nil {
		return nil, err
	}
	if len(c.Hosts) > maxHostsFiles {
		return nil, fmt.Errorf("%d hosts files: at most %d", len(c.Hosts), maxHostsFiles)
	}
	d := &Data{tree: t, files: make([]hostsFile, len(c.Hosts))}
	var problems []error
	for i, path := range c.Hosts {
		d.files[i] = hostsFile{path: path, held: &hosts{}}
		if err := d.files[i].read(t); err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return d, nil
}

// Reload looks at the hosts files and reads those that have changed. The Data
// that it returns is good whatever the error says: it is d itself where
// nothing changed, and a file named in the error keeps what it held. A file is
// named once, not at every look.
func (d *Data) Reload() (*Data, error) {
	next := d
	var problems []error
	for i := range d.files {
		if !d.files[i].changed() {
			continue
		}
		if next == d {
			next = &Data{tree: d.tree, files: append([]hostsFile(nil), d.files...)}
		}
		if err := next.files[i].read(d.tree); err != nil {
			problems = append(problems, err)
		}
	}
	return next, errors.Join(problems...)
}

// newTree builds the tree of records and zones.
func newTree(c *Config) (*tree, error) {
	t := &tree{nodes: make(map[string]*node)}
	claimed, err := t.addForwarded(c.Forwarded)
	if err != nil {
		return nil, err
	}
	records, err := parseRecords(c.Records)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		t.add(r.owner, r.rr)
	}
	if err := t.checkOwners(c.Records, records); err != nil {
		return nil, err
	}
	if err := t.checkChains(c.Records, records); err != nil {
		return nil, err
	}
	for _, r := range records {
		if soa, ok := r.rr.(*dns.SOA); ok {
			t.node(r.owner).zone = &zone{name: r.owner, soa: negative(soa)}
			claimed = append(claimed, r.owner)
		}
	}
	t.addSpecial(c.PrivateUpstreams, claimed)
	return t, t.addDesignated(&c.Designated)
}

// negative is a zone's SOA as negative answers carry it (RFC 2308 §3).
func negative(soa *dns.SOA) *dns.SOA {
	again := dns.Copy(soa).(*dns.SOA)
	again.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
	return again
}

// addForwarded marks the zones of other resolvers.
func (t *tree) addForwarded(zones []string) (claimed []string, err error) {
	for _, z := range zones {
		name, err := wireOf(z)
		if err != nil {
			return nil, fmt.Errorf("forwarded zone: %w", err)
		}
		if special, why := alwaysSpecial(name); special {
			return nil, fmt.Errorf("forwarded zone %q %s: it is never forwarded", z, why)
		}
		t.touch(name).forwarded = true
		claimed = append(claimed, name)
	}
	return claimed, nil
}
