package firewall

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Table is the name of the table that the file makes.
const Table = "sallyport_apps"

// lineWidth is where lists of addresses and comments are broken.
const lineWidth = 78

// WriteNFTables writes the plan as a file for nft -f, which replaces in one step
// what it loaded before. The same plan gives the same file. The error is w's.
func (p *Plan) WriteNFTables(w io.Writer) error {
	var b strings.Builder
	b.WriteString("#!/usr/sbin/nft -f\n")
	comment(&b, "", "Packets that the policy refuses by their address, as sallyport export nftables has written it. Do not edit it: export it again.")
	b.WriteString("#\n")
	comment(&b, "", "Load it with nft -f; loading it again replaces it. To take it away: nft delete table inet "+Table)
	b.WriteString("#\n")
	comment(&b, "", "Policy "+p.Revision+".")
	if p.Until != "" {
		comment(&b, "", "It holds until "+p.Until+". Export it again then: the policy says something else from that moment.")
	}
	p.writeOmitted(&b)
	fmt.Fprintf(&b, "\n# Made first, so that there is one to delete.\ntable inet %[1]s\ndelete table inet %[1]s\n\ntable inet %[1]s {\n", Table)
	for i := range p.Refusals {
		p.Refusals[i].writeSets(&b, i+1)
	}
	p.writeChain(&b)
	b.WriteString("}\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the rules for nftables: %w", err)
	}
	return nil
}

func (p *Plan) writeOmitted(b *strings.Builder) {
	if len(p.LeftOut) == 0 {
		return
	}
	b.WriteString("#\n")
	comment(b, "", "What the policy refuses as well, and is not in here:")
	for _, o := range p.LeftOut {
		text := o.Rule + ": "
		if len(o.Apps) > 0 {
			text += strings.Join(o.Apps, ", ") + ": "
		}
		comment(b, "  ", text+o.Why)
	}
}

// writeChain has a rule for each refusal.
func (p *Plan) writeChain(b *strings.Builder) {
	b.WriteString("\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n")
	for i := range p.Refusals {
		r := &p.Refusals[i]
		b.WriteString("\t\t")
		if len(r.Clients) > 0 {
			fmt.Fprintf(b, "%s saddr @clients%d ", r.protocolOfAddresses(), i+1)
		}
		fmt.Fprintf(b, "%s daddr @refused%d ", r.protocolOfAddresses(), i+1)
		if len(r.Ports) > 0 {
			fmt.Fprintf(b, "%s dport { %s } ", r.Protocol, strings.Join(r.Ports, ", "))
		} else {
			fmt.Fprintf(b, "meta l4proto %s ", r.Protocol)
		}
		b.WriteString("counter reject")
		if r.Protocol == "tcp" {
			b.WriteString(" with tcp reset")
		}
		b.WriteString("\n")
	}
	b.WriteString("\t}\n")
}

func (r *Refusal) protocolOfAddresses() string {
	if r.six {
		return "ip6"
	}
	return "ip"
}

func (r *Refusal) writeSets(b *strings.Builder, number int) {
	for rest := r.Because; len(rest) > 0; {
		rule, apps := rest[0].Rule, []string(nil)
		for len(rest) > 0 && rest[0].Rule == rule {
			apps, rest = append(apps, cmp.Or(rest[0].App, "addresses")), rest[1:]
		}
		comment(b, "\t", rule+": "+strings.Join(apps, ", "))
	}
	r.writeSet(b, fmt.Sprintf("refused%d", number), r.Destinations)
	if len(r.Clients) > 0 {
		r.writeSet(b, fmt.Sprintf("clients%d", number), r.Clients)
	}
}

func (r *Refusal) writeSet(b *strings.Builder, name string, elements []string) {
	kind := "ipv4_addr"
	if r.six {
		kind = "ipv6_addr"
	}
	fmt.Fprintf(b, "\tset %s {\n\t\ttype %s\n\t\tflags interval\n\t\telements = {\n", name, kind)
	wrapped(b, "\t\t\t", strings.Join(elements, ", "))
	b.WriteString("\t\t}\n\t}\n\n")
}

// comment writes text as comment lines.
func comment(b *strings.Builder, indent, text string) {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text)
	if strings.HasPrefix(indent, "\t") {
		wrapped(b, indent+"# ", clean)
		return
	}
	wrapped(b, "# "+indent, clean)
}

// wrapped writes words in lines, each behind a prefix.
func wrapped(b *strings.Builder, prefix, text string) {
	line := prefix
	for _, word := range strings.Fields(text) {
		if len(line) > len(prefix) && len(line)+len(word) >= lineWidth {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = prefix
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}
