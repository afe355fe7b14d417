package policy

import (
	"bytes"
	"net/netip"
	"strconv"
)

// Why a record of a response policy zone is passed over.
const (
	skipTrigger    = "an RPZ trigger other than a name or rpz-ip"
	skipRewrite    = "an RPZ record that rewrites instead of blocking"
	skipTCPOnly    = "an RPZ record that only asks for TCP"
	skipOutside    = "a record outside the zone"
	skipApex       = "a record of the zone itself"
	skipRecord     = "no record that can be read"
	skipUnfinished = "a record whose parenthesis is never closed"
	skipDirective  = "a zone file directive other than $ORIGIN and $TTL"
)

const (
	// recordLines is how many lines a record in parentheses may span. A
	// parenthesis that is never closed must not swallow the zone.
	recordLines = 64
	// recordFields is how many fields of a record are looked at: owner, TTL,
	// class, type and the first of its data.
	recordFields = 5
)

// zoneReader reads a response policy zone in master file format (RFC 1035 §5).
type zoneReader struct {
	*listBuilder
	apex   []byte // absolute name of the zone, lower case, no final dot; nil while not known
	origin []byte // the same for what relative names end in; nil while not known
	hasSOA bool
	owner  []byte // of the last record, as written: a line that begins with a blank repeats it
	fields [recordFields][]byte
	joined []byte // scratch
}

// readZone reads a zone file.
func readZone(b *listBuilder, data []byte) {
	z := &zoneReader{listBuilder: b}
	for next := 1; len(data) > 0; {
		z.line = next
		text, rest, lines, closed := cutRecord(data)
		if !closed {
			first, after := cutLine(data)
			z.skip(skipUnfinished, first)
			data, next = after, next+1
			continue
		}
		if reason := z.read(text); reason != "" {
			first, _ := cutLine(text)
			z.skip(reason, bytes.TrimSpace(first))
		}
		data, next = rest, next+lines
	}
}

// cutRecord splits off one line, and those that a parenthesis adds to it.
func cutRecord(data []byte) (text, rest []byte, lines int, closed bool) {
	line, rest := cutLine(data)
	depth := parenthesesIn(line, 0)
	if depth == 0 {
		return line, rest, 1, true
	}
	for lines = 1; depth > 0 && len(rest) > 0 && lines < recordLines; lines++ {
		line, rest = cutLine(rest)
		depth = parenthesesIn(line, depth)
	}
	return data[:len(data)-len(rest)], rest, lines, depth == 0
}

// parenthesesIn is how many parentheses are open at the end of a line, outside
// quotes and comments, when depth are at its beginning.
func parenthesesIn(line []byte, depth int) int {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ';':
			return depth
		case c == '(':
			depth++
		case c == ')':
			depth = max(depth-1, 0)
		}
	}
	return depth
}

// read reads one record or directive and returns why it is passed over, or "".
func (z *zoneReader) read(text []byte) (reason string) {
	repeated := len(text) > 0 && isBlank(text[0])
	fields := z.split(text)
	if len(fields) == 0 {
		return ""
	}
	if fields[0][0] == '$' {
		return z.directive(fields)
	}
	if !repeated {
		z.owner, fields = fields[0], fields[1:]
	}
	for len(fields) > 0 && (isTTL(fields[0]) || isClass(fields[0])) {
		fields = fields[1:]
	}
	if len(fields) == 0 || z.owner == nil {
		return skipRecord
	}
	kind := fields[0]
	if equalsWord(kind, "SOA") {
		z.setApex()
		return ""
	}
	trigger, inside := z.relative(z.owner)
	switch {
	case !inside:
		return skipOutside
	case len(trigger) == 0 && equalsWord(kind, "NS"):
		return ""
	case len(trigger) == 0:
		return skipApex
	case len(fields) < 2:
		return skipRecord
	}
	excepted, reason := z.action(kind, fields[1], trigger)
	if reason != "" {
		return reason
	}
	return z.trigger(trigger, excepted)
}

// split cuts a record into its first fields. Parentheses, quotes and comments
// only matter behind those.
func (z *zoneReader) split(text []byte) [][]byte {
	n := 0
	for i := 0; i < len(text) && n < recordFields; {
		switch c := text[i]; {
		case c == ';':
			end := bytes.IndexByte(text[i:], '\n')
			if end < 0 {
				return z.fields[:n]
			}
			i += end
		case isBlank(c) || c == '\n' || c == '(' || c == ')':
			i++
		default:
			start := i
			for i < len(text) && !isBlank(text[i]) && !isZonePunctuation(text[i]) {
				if text[i] == '\\' && i+1 < len(text) {
					i++ // whatever follows is part of the name
				}
				i++
			}
			z.fields[n] = text[start:i]
			n++
		}
	}
	return z.fields[:n]
}

func isZonePunctuation(c byte) bool { return c == '\n' || c == ';' || c == '(' || c == ')' }

// directive reads $ORIGIN and $TTL.
func (z *zoneReader) directive(fields [][]byte) (reason string) {
	switch {
	case equalsWord(fields[0], "$TTL"):
		return ""
	case !equalsWord(fields[0], "$ORIGIN"):
		return skipDirective
	case len(fields) < 2:
		return skipRecord
	}
	z.origin = bytes.Clone(z.absolute(fields[1]))
	if !z.hasSOA && z.apex == nil {
		z.apex = z.origin
	}
	return ""
}

// setApex takes the owner of the SOA for the zone's name. Where it is relative
// and no origin is known, the zone is nameless and its names are relative.
func (z *zoneReader) setApex() {
	if z.hasSOA {
		return
	}
	z.hasSOA = true
	if isAbsolute(z.owner) || z.origin != nil {
		z.apex = bytes.Clone(z.absolute(z.owner))
	}
	if z.origin == nil {
		z.origin = z.apex
	}
}

func isAbsolute(name []byte) bool { return len(name) > 0 && name[len(name)-1] == '.' }

// absolute is a name with the origin behind it where it is relative, without
// the final dot, in lower case. It is good until the next call.
func (z *zoneReader) absolute(name []byte) []byte {
	z.joined = z.joined[:0]
	switch {
	case isAbsolute(name):
		z.joined = append(z.joined, name[:len(name)-1]...)
	case string(name) == "@":
		z.joined = append(z.joined, z.origin...)
	default:
		z.joined = append(z.joined, name...)
		if len(z.origin) > 0 {
			z.joined = append(append(z.joined, '.'), z.origin...)
		}
	}
	lowerASCII(z.joined)
	return z.joined
}

// relative is the part of an owner name in front of the zone's name; empty for
// the zone itself. It is good until the next call of absolute.
func (z *zoneReader) relative(owner []byte) (trigger []byte, inside bool) {
	if !isAbsolute(owner) && string(owner) != "@" && bytes.Equal(z.origin, z.apex) {
		return owner, true // nearly every line
	}
	if z.apex == nil && isAbsolute(owner) {
		return nil, false
	}
	name := z.absolute(owner)
	switch {
	case bytes.Equal(name, z.apex):
		return nil, true
	case len(z.apex) == 0:
		return name, true
	case bytes.HasSuffix(name, z.apex) && name[len(name)-len(z.apex)-1] == '.':
		return name[:len(name)-len(z.apex)-1], true
	default:
		return nil, false
	}
}

// action tells whether a record blocks or excepts, or why it does neither.
func (z *zoneReader) action(kind, data, trigger []byte) (excepted bool, reason string) {
	switch {
	case equalsWord(kind, "CNAME"):
		return cnameAction(data, trigger)
	case equalsWord(kind, "A") || equalsWord(kind, "AAAA"):
		if hostsAddress(data) == nullAddress {
			return false, ""
		}
	}
	return false, skipRewrite
}

// cnameAction reads the target of a CNAME, which is where RPZ keeps actions.
func cnameAction(target, trigger []byte) (excepted bool, reason string) {
	switch {
	case string(target) == "." || string(target) == "*." || equalsWord(target, "RPZ-DROP."):
		return false, ""
	case equalsWord(target, "RPZ-PASSTHRU."):
		return true, ""
	case equalsWord(target, "RPZ-TCP-ONLY."):
		return false, skipTCPOnly
	case isAbsolute(target) && bytes.EqualFold(target[:len(target)-1], trigger):
		return true, "" // the old way to write passthru
	default:
		return false, skipRewrite
	}
}

// trigger notes what a trigger selects and returns why it could not, or "".
func (z *zoneReader) trigger(trigger []byte, excepted bool) (reason string) {
	exact, below := uint32(listExact), uint32(listBelow)
	if excepted {
		exact, below = listNotExact, listNotBelow
	}
	last := trigger[bytes.LastIndexByte(trigger, '.')+1:]
	if len(last) > 4 && bytes.EqualFold(last[:4], []byte("rpz-")) {
		if !equalsWord(last, "RPZ-IP") {
			return skipTrigger
		}
		prefix, ok := rpzPrefix(bytes.TrimSuffix(trigger[:len(trigger)-len(last)], []byte(".")))
		if !ok {
			return skipRecord
		}
		return z.addNetwork(prefix, exact)
	}
	if trigger[0] == '*' {
		return z.readWildcard(trigger, below)
	}
	if name, _, ok := z.plainName(trigger); ok {
		z.addName(name, exact)
		return ""
	}
	host, err := ParseHost(string(trigger))
	if err != nil || host.IsAddr() {
		return skipNotName // an address as a name is never asked for
	}
	z.addName([]byte(host.Name()), exact)
	return ""
}

// rpzPrefix reads the owner of an rpz-ip trigger: the prefix length, then the
// address from its end: 24.0.2.0.192 is 192.0.2.0/24, 48.zz.db8.2001 is
// 2001:db8::/48, with zz for the longest run of zeros.
func rpzPrefix(owner []byte) (netip.Prefix, bool) {
	const maxParts = 9
	parts := bytes.SplitN(owner, []byte("."), maxParts+1)
	bits, err := strconv.Atoi(string(parts[0]))
	if err != nil || len(parts) > maxParts {
		return netip.Prefix{}, false
	}
	var text []byte
	ipv4 := len(parts) == 5 && !bytes.Contains(bytes.ToLower(owner), []byte("zz"))
	for i := len(parts) - 1; i > 0; i-- {
		switch {
		case ipv4 && len(text) > 0:
			text = append(text, '.')
		case !ipv4 && len(text) > 0 && text[len(text)-1] != ':':
			text = append(text, ':')
		}
		if equalsWord(parts[i], "ZZ") {
			if i == len(parts)-1 {
				text = append(text, ':')
			}
			text = append(text, ':')
			continue
		}
		text = append(text, parts[i]...)
	}
	addr, err := netip.ParseAddr(string(text))
	if err != nil || addr.Is4() != ipv4 || addr.Zone() != "" {
		return netip.Prefix{}, false
	}
	prefix, err := addr.Prefix(bits)
	return prefix, err == nil
}

// isTTL reports whether a field is a number of seconds, or of other units as
// BIND writes them (1h30m).
func isTTL(field []byte) bool {
	if field[0] < '0' || field[0] > '9' {
		return false
	}
	for _, c := range field {
		switch {
		case c >= '0' && c <= '9':
		case bytes.IndexByte([]byte("smhdwSMHDW"), c) >= 0:
		default:
			return false
		}
	}
	return true
}

func isClass(field []byte) bool {
	return equalsWord(field, "IN") || equalsWord(field, "CH") || equalsWord(field, "HS")
}

func lowerASCII(text []byte) {
	for i, c := range text {
		if c >= 'A' && c <= 'Z' {
			text[i] = c + 'a' - 'A'
		}
	}
}
