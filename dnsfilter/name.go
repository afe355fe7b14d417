package dnsfilter

import (
	"fmt"
	"strings"

	"github.com/sallyport/sallyport/policy"
)

// Names have three forms here. Wire form is labels with length bytes, as in
// packets (RFC 1035 §3.1), always uncompressed and, where it is a string, in
// lower case. Presentation form is miekg/dns's. Canonical form is the
// policy's, see policy.HostFromCanonicalName.

const (
	maxNameBytes  = 255 // RFC 1035 §3.1, length bytes and root included
	maxLabelBytes = 63
)

// readName returns the wire name that starts at msg[off] and the offset behind
// it. It accepts no compression pointer: a question, the first name of its
// packet, has nothing to point to.
func readName(msg []byte, off int) (wire []byte, next int, ok bool) {
	for at := off; at < len(msg); {
		length := int(msg[at])
		at++
		if length == 0 {
			return msg[off:at], at, at-off <= maxNameBytes
		}
		if length > maxLabelBytes {
			return nil, 0, false
		}
		at += length
	}
	return nil, 0, false
}

// skipName returns the offset behind the name, compressed or not, at msg[off].
func skipName(msg []byte, off int) (next int, ok bool) {
	for off < len(msg) {
		length := int(msg[off])
		switch {
		case length == 0:
			return off + 1, true
		case length >= 0xC0: // a pointer ends a name
			return off + 2, off+2 <= len(msg)
		case length > maxLabelBytes:
			return 0, false
		}
		off += 1 + length
	}
	return 0, false
}

// lowerName returns a wire name in lower case. Length bytes are at most 63 and
// therefore never letters.
func lowerName(wire []byte) string {
	lower := make([]byte, len(wire))
	for i, c := range wire {
		lower[i] = lowerByte(c)
	}
	return string(lower)
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// sameName compares two wire names, letter case aside.
func sameName(a []byte, lower string) bool {
	if len(a) != len(lower) {
		return false
	}
	for i, c := range a {
		if lowerByte(c) != lower[i] {
			return false
		}
	}
	return true
}

// canonicalName turns a lower-case wire name into canonical form: "" for the
// root. A dot or backslash inside a label, and whatever is not printable, is
// written as \DDD, so that the single label "zoom.us" is not the name zoom.us.
func canonicalName(lower string) string {
	var b strings.Builder
	b.Grow(len(lower))
	for at := 0; at < len(lower) && lower[at] != 0; {
		end := at + 1 + int(lower[at])
		if at > 0 {
			b.WriteByte('.')
		}
		for _, c := range []byte(lower[at+1 : end]) {
			if c <= ' ' || c > '~' || c == '.' || c == '\\' {
				fmt.Fprintf(&b, `\%03d`, c)
				continue
			}
			b.WriteByte(c)
		}
		at = end
	}
	return b.String()
}

// wireName reads a name in presentation or canonical form, with or without a
// trailing dot, and returns it in lower-case wire form.
func wireName(name string) (string, error) {
	if name == "." || name == "" {
		return "\x00", nil
	}
	wire := make([]byte, 1, len(name)+2)
	label := 0 // index of the length byte of the label being read
	closeLabel := func() bool {
		length := len(wire) - label - 1
		wire[label] = byte(length)
		return length > 0 && length <= maxLabelBytes
	}
	for i := 0; i < len(name); {
		c := name[i]
		i++
		switch {
		case c == '.':
			if !closeLabel() {
				return "", fmt.Errorf("name %q: a label is empty or longer than %d bytes", name, maxLabelBytes)
			}
			label = len(wire)
			wire = append(wire, 0)
			continue
		case c == '\\':
			escaped, width, ok := unescape(name[i:])
			if !ok {
				return "", fmt.Errorf(`name %q: a backslash must be followed by a character or by three digits up to 255`, name)
			}
			c = escaped
			i += width
		}
		wire = append(wire, lowerByte(c))
	}
	if label != len(wire)-1 { // no trailing dot
		if !closeLabel() {
			return "", fmt.Errorf("name %q: a label is longer than %d bytes", name, maxLabelBytes)
		}
		wire = append(wire, 0)
	}
	if len(wire) > maxNameBytes {
		return "", fmt.Errorf("name %q: longer than %d bytes", name, maxNameBytes)
	}
	return string(wire), nil
}

// unescape reads what follows a backslash (RFC 1035 §5.1): the byte that it
// stands for, and how many bytes it takes.
func unescape(s string) (c byte, width int, ok bool) {
	if s == "" {
		return 0, 0, false
	}
	if s[0] < '0' || s[0] > '9' {
		return s[0], 1, true
	}
	if len(s) < 3 {
		return 0, 0, false
	}
	value := 0
	for _, d := range []byte(s[:3]) {
		if d < '0' || d > '9' {
			return 0, 0, false
		}
		value = value*10 + int(d-'0')
	}
	return byte(value), 3, value <= 255
}

// hostOf makes a policy.Host of a name in presentation form; false for the
// root and for what is no name.
func hostOf(presentation string) (policy.Host, bool) {
	wire, err := wireName(presentation)
	if err != nil || wire == "\x00" {
		return policy.Host{}, false
	}
	return policy.HostFromCanonicalName(canonicalName(wire)), true
}
