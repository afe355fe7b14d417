package dnswire

import (
	"fmt"
)

// ReadName returns the wire name that starts at msg[off] and the offset behind
// it. It accepts no compression pointer: a question, the first name of its
// packet, has nothing to point to.
func ReadName(msg []byte, off int) (wire []byte, next int, ok bool) {
	for at := off; at < len(msg); {
		length := int(msg[at])
		at++
		if length == 0 {
			return msg[off:at], at, at-off <= MaxNameBytes
		}
		if length > MaxLabelBytes {
			return nil, 0, false
		}
		at += length
	}
	return nil, 0, false
}

// SkipName returns the offset behind the name, compressed or not, at msg[off].
func SkipName(msg []byte, off int) (next int, ok bool) {
	for off < len(msg) {
		length := int(msg[off])
		switch {
		case length == 0:
			return off + 1, true
		case length >= 0xC0: // a pointer ends a name
			return off + 2, off+2 <= len(msg)
		case length > MaxLabelBytes:
			return 0, false
		}
		off += 1 + length
	}
	return 0, false
}

// LowerName returns a wire name in lower case.
func LowerName(wire []byte) string {
	return string(AppendLower(make([]byte, 0, len(wire)), wire))
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// SameName compares two wire names, letter case aside.
func SameName(a []byte, lower string) bool {
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

// AppendLower appends a wire name in lower case. Length bytes are at most 63
// and therefore never letters.
func AppendLower(dst, wire []byte) []byte {
	for _, c := range wire {
		dst = append(dst, lowerByte(c))
	}
	return dst
}

// AppendCanonical appends the canonical form of a lower-case wire name: nothing
// for the root. A dot or backslash inside a label, and whatever is not
// printable, is written as \DDD, so that the single label "zoom.us" is not the
// name zoom.us.
func AppendCanonical(dst []byte, lower []byte) []byte {
	for at := 0; at < len(lower) && lower[at] != 0; {
		end := at + 1 + int(lower[at])
		if at > 0 {
			dst = append(dst, '.')
		}
		for _, c := range lower[at+1 : end] {
			if c > ' ' && c <= '~' && c != '.' && c != '\\' {
				dst = append(dst, c)
				continue
			}
			dst = append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		}
		at = end
	}
	return dst
}

// CanonicalName is the canonical form of a lower-case wire name.
func CanonicalName(lower string) string {
	return string(AppendCanonical(make([]byte, 0, len(lower)), []byte(lower)))
}

// WireName reads a name in presentation or canonical form, with or without a
// trailing dot, and returns it in lower-case wire form.
func WireName(name string) (string, error) {
	if name == "." || name == "" {
		return "\x00", nil
	}
	wire := make([]byte, 1, len(name)+2)
	label := 0 // index of the length byte of the label being read
	closeLabel := func() bool {
		length := len(wire) - label - 1
		wire[label] = byte(length)
		return length > 0 && length <= MaxLabelBytes
	}
	for i := 0; i < len(name); {
		c := name[i]
		i++
		switch {
		case c == '.':
			if !closeLabel() {
				return "", fmt.Errorf("name %q: a label is empty or longer than %d bytes", name, MaxLabelBytes)
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
			return "", fmt.Errorf("name %q: a label is longer than %d bytes", name, MaxLabelBytes)
		}
		wire = append(wire, 0)
	}
	if len(wire) > MaxNameBytes {
		return "", fmt.Errorf("name %q: longer than %d bytes", name, MaxNameBytes)
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
