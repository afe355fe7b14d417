package pac

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/sallyport/sallyport/policy"
)

// MaxScript is the size of the largest script that is written, in bytes.
// Chromium reads no larger one.
const MaxScript = 1 << 20

const (
	// headRoom is kept for what Script adds to a Plan.
	headRoom = 16 << 10
	// MaxProxies bounds the proxies that a script names, so that headRoom is
	// enough for them.
	MaxProxies = 16
	// MaxDirect bounds Settings.Direct and Settings.DirectNetworks, each: the
	// script is useless without them, so that they must always fit.
	MaxDirect = 1000
	// MaxNames is how many names are looked at: more than fit into MaxScript.
	MaxNames = 64 << 10
)

// Settings are what an administrator decides. The zero value sends everything
// to the proxy.
type Settings struct {
	// Judged is mode judged: only what the policy may refuse, coach or record
	// goes to the proxy.
	Judged bool

	// Direct and DirectNetworks never go to the proxy, whatever the policy
	// says. Regular expressions are left out.
	Direct         []policy.Pattern
	DirectNetworks []netip.Prefix

	// PrivateDirect keeps private addresses away from a proxy that would not
	// dial them, save those that a rule names.
	PrivateDirect bool

	// Fallback lets browsers go without the proxy while it cannot be reached.
	Fallback bool

	// Portal are the portal's own names and addresses. They never go to the
	// proxy, which would not dial the gateway itself.
	Portal []policy.Host
}

// Plan is everything in a script but the proxies and the way to the portal.
// Immutable; safe for concurrent use.
type Plan struct {
	body     []byte
	sum      [sha256.Size]byte
	fallback bool

	// Whole is why everything goes to the proxy although only what is judged
	// was to, and Cause the name of the rule, where it is a single one.
	Whole policy.Whole
	Cause string
}

// script is the part of every script that never changes.
//
//go:embed script.js
var script []byte

// NewPlan plans for the clients of a scope. Where what its rules name cannot be
// written down, everything goes to the proxy; see Plan.Whole.
func NewPlan(s *Settings, scope policy.Scope) *Plan {
	if !s.Judged {
		d := data{settings: s, present: scope.Named(0)} // for addresses, and no list
		return d.plan()
	}
	d := data{settings: s, judged: true, present: scope.Named(MaxNames), later: scope.NamedLater(MaxNames)}
	for _, n := range []*policy.Named{&d.present, &d.later} {
		if n.Whole != policy.WholeNot {
			d.judged = false
			p := d.plan()
			p.Whole, p.Cause = n.Whole, n.Cause.Name
			return p
		}
	}
	p := d.plan()
	if len(p.body) > MaxScript-headRoom {
		d.judged = false
		p = d.plan()
		p.Whole = policy.WholeTooMany
	}
	return p
}

// EverythingPlan is a plan by which everything goes to the proxy and which tells
// nothing of the policy, for whoever cannot be told from a stranger.
func EverythingPlan(s *Settings) *Plan { return (&data{settings: s}).plan() }

// data is what a plan is written from.
type data struct {
	settings       *Settings
	judged         bool // present and later are written down, and nothing else goes to the proxy
	present, later policy.Named
}

func (d *data) plan() *Plan {
	body := d.write()
	return &Plan{body: body, sum: sha256.Sum256(body), fallback: d.settings.Fallback}
}

// write writes the tables, and behind them what never changes.
func (d *data) write() []byte {
	var b bytes.Buffer
	directNames, directRanges := d.direct()
	comment := "// Everything goes to the proxy, save what is named here.\n"
	if d.judged {
		comment = "// What a rule for this client is about goes to the proxy, and nothing else.\n"
	}
	b.WriteString(comment)
	fmt.Fprintf(&b, "var everything = %v;\n", !d.judged)
	writeNames(&b, "directNames", directNames)
	writeRanges(&b, "directAddresses", directRanges)
	var now, later policy.Named
	if d.judged {
		now, later = d.present, d.later
	}
	writeNames(&b, "judgedNames", now.Names)
	writeRanges(&b, "judgedAddresses", now.Addrs)
	// No checksum could tell whether an address is in a network: wherever
	// somebody's rules name one, all addresses go to the proxy.
	fmt.Fprintf(&b, "var everyAddress = %v;\n", len(later.Addrs) > 0)
	writeChecksums(&b, checksumsOf(later.Names))
	writePorts(&b, slices.Concat(now.Ports, later.Ports))
	b.Write(script)
	return b.Bytes()
}

// direct is what goes to no proxy: the machine itself, the portal, what the
// administrator has named, and private addresses that no rule names.
func (d *data) direct() ([]policy.NamedName, []policy.AddrRange) {
	s := d.settings
	patterns := append([]policy.Pattern{{Kind: policy.PatternSuffix, Name: "localhost"}}, s.Direct...)
	ranges := []policy.AddrRange{rangeOf(netip.MustParsePrefix("127.0.0.0/8")), rangeOf(netip.MustParsePrefix("::1/128"))}
	for _, own := range s.Portal {
		if own.IsAddr() {
			ranges = append(ranges, policy.AddrRange{First: own.Addr(), Last: own.Addr()})
			continue
		}
		patterns = append(patterns, policy.Pattern{Kind: policy.PatternExact, Name: own.Name()})
	}
	for _, network := range s.DirectNetworks {
		ranges = append(ranges, rangeOf(network))
	}
	if s.PrivateDirect {
		ranges = append(ranges, without(privateRanges(), d.present.Addrs)...)
	}
	return namesOf(patterns), joined(ranges)
}

// privateRanges are the networks of organisations and of single links, sorted.
func privateRanges() []policy.AddrRange {
	var all []policy.AddrRange
	for _, text := range []string{
		"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918, RFC 3927
		"fc00::/7", "fe80::/10", // RFC 4193, RFC 4291 §2.5.6
	} {
		all = append(all, rangeOf(netip.MustParsePrefix(text)))
	}
	return all
}

func writeNames(b *bytes.Buffer, variable string, names []policy.NamedName) {
	fmt.Fprintf(b, "var %s = {", variable)
	for i, n := range names {
		fmt.Fprintf(b, "%s%s: %d", separator(i), quoted("."+n.Name), flags(n.Itself, n.Under))
	}
	b.WriteString("};\n")
}

func writeRanges(b *bytes.Buffer, variable string, ranges []policy.AddrRange) {
	fmt.Fprintf(b, "var %s = [", variable)
	for i, r := range ranges {
		fmt.Fprintf(b, "%s%s, %s", separator(i), quoted(addressText(r.First)), quoted(addressText(r.Last)))
	}
	b.WriteString("];\n")
}

func writeChecksums(b *bytes.Buffer, c *checksums) {
	mask := -1 // which matches nothing
	if len(c.table) > 0 {
		mask = int(c.mask)
	}
	fmt.Fprintf(b, "var checksumMask = %d;\nvar checksumLabels = %d;\nvar checksums = {", mask, c.labels)
	for i, sum := range slices.Sorted(maps.Keys(c.table)) {
		between := ", "
		if i%16 == 0 {
			between = separator(i)
		}
		fmt.Fprintf(b, "%s%d: %d", between, sum, c.table[sum])
	}
	b.WriteString("};\n")
}

// writePorts leaves out what only UDP can have: a browser sends no UDP through a
// proxy.
func writePorts(b *bytes.Buffer, ports []policy.PortRange) {
	b.WriteString("var judgedPorts = [")
	between := ""
	for _, p := range ports {
		if p.Any || p.Protocol == policy.ProtocolTCP {
			fmt.Fprintf(b, "%s%d, %d", between, p.From, p.To)
			between = ", "
		}
	}
	b.WriteString("];\n")
}

// separator begins a new line for the entry i. There is none behind the last
// entry: old engines would take it for one more.
func separator(i int) string {
	if i == 0 {
		return "\n"
	}
	return ",\n"
}

// quoted is a string literal. JSON escapes whatever could end one, line
// separators and < included.
func quoted(text string) []byte {
	literal, err := json.Marshal(text)
	if err != nil { // which no string gives
		return []byte(`""`)
	}
	return literal
}

// Script is a proxy auto-configuration file. Its parts are shared: do not
// change them.
type Script struct {
	Parts [][]byte // to be sent one behind the other
	ETag  string   // as the header has it; equal for equal bytes
}

// Script writes the file for a client that reached the portal under a host, and
// that is to use the proxies, the best first: one to MaxProxies of them, with
// their hosts filled in.
func (p *Plan) Script(proxies []Proxy, portal policy.Host) Script {
	own := "." + portal.Name()
	if portal.IsAddr() {
		own = addressText(portal.Addr())
	}
	var b bytes.Buffer
	b.WriteString("// Written by sallyport for one client. Do not edit: fetch it again.\n")
	fmt.Fprintf(&b, "var proxies = %s;\n", quoted(answer(proxies, p.fallback)))
	fmt.Fprintf(&b, "var portal = %s;\n", quoted(own))
	h := sha256.New()
	h.Write(b.Bytes())
	h.Write(p.sum[:])
	return Script{
		Parts: [][]byte{b.Bytes(), p.body},
		ETag:  `"` + hex.EncodeToString(h.Sum(nil)[:16]) + `"`,
	}
}
