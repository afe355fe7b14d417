package strictyaml

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Bounds of texts, in bytes.
const (
	maxLine = 4 << 10
	maxText = 64 << 10
)

// Text reads a scalar as it is written, whatever YAML takes it for: a ticket
// number 0328 stays "0328". Surrounding space is removed, at most 64 KiB are
// taken, and the text cannot be empty.
func (v Value) Text() (string, bool) {
	if v.IsEmpty() {
		v.Errorf("%s has no value: give it one or remove the key", v.noun)
		return "", false
	}
	if !v.IsScalar() {
		v.Errorf("%s must be a single value, not %s", v.noun, v.kind())
		return "", false
	}
	if !v.untagged() {
		return "", false
	}
	text := strings.TrimSpace(v.resolved().Value)
	if text == "" {
		v.Errorf("%s is empty: give it a value or remove the key", v.noun)
		return "", false
	}
	if len(text) > maxText {
		v.Errorf("%s has %d bytes: at most %d are taken", v.noun, len(text), maxText)
		return "", false
	}
	return text, true
}

// Line reads a Text of one line without control characters, of at most 4 KiB.
func (v Value) Line() (string, bool) {
	text, ok := v.Text()
	if !ok {
		return "", false
	}
	if len(text) > maxLine {
		v.Errorf("%s has %d bytes: at most %d are taken", v.noun, len(text), maxLine)
		return "", false
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		v.Errorf("%s must be one line without control characters", v.noun)
		return "", false
	}
	return text, true
}

// OneOf reads one of a few names. The name null may be written without quotes,
// although YAML takes it for nothing.
func (v Value) OneOf(names ...string) (string, bool) {
	text := v.resolved().Value
	if !v.IsEmpty() || text == "" {
		var ok bool
		if text, ok = v.Line(); !ok {
			return "", false
		}
	}
	if slices.Contains(names, text) {
		return text, true
	}
	if near := Nearest(text, names); near != "" {
		v.Errorf("unknown %s %q: did you mean %q?", v.name, text, near)
		return "", false
	}
	v.Errorf("unknown %s %q: use %s", v.name, text, alternatives(names))
	return "", false
}

// alternatives writes names as "a, b or c".
func alternatives(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// Bool reads true or false, and none of the other words that YAML once took
// for them.
func (v Value) Bool() (value, ok bool) {
	text, ok := v.Line()
	if !ok {
		return false, false
	}
	if text != "true" && text != "false" {
		v.Errorf("%s must be true or false, not %q", v.noun, text)
		return false, false
	}
	return text == "true", true
}

// Int reads a decimal number from least to most, both included.
func (v Value) Int(least, most int) (int, bool) {
	text, ok := v.Line()
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		v.Errorf("%s must be a number from %d to %d, not %q", v.noun, least, most, text)
		return 0, false
	}
	return n, true
}

// Duration reads a length of time such as 30s, 1h30m or 2d, from least to
// most, both included. A day (d) is 24 hours and stands first.
func (v Value) Duration(least, most time.Duration) (time.Duration, bool) {
	text, ok := v.Line()
	if !ok {
		return 0, false
	}
	d, ok := parseDuration(text)
	if !ok {
		v.Errorf("%s must be a length of time such as 30s, 8h or 2d, not %q", v.noun, text)
		return 0, false
	}
	if d < least || d > most {
		v.Errorf("%s must be from %s to %s, not %q", v.noun, durationText(least), durationText(most), text)
		return 0, false
	}
	return d, true
}

func parseDuration(text string) (time.Duration, bool) {
	const day = 24 * time.Hour
	var days int
	if before, after, found := strings.Cut(text, "d"); found {
		n, err := strconv.Atoi(before)
		if err != nil || n < 0 || n > int(math.MaxInt64/day)-1 {
			return 0, false
		}
		if after == "" {
			return time.Duration(n) * day, true
		}
		days, text = n, after
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || (days > 0 && d >= day) {
		return 0, false
	}
	return time.Duration(days)*day + d, true
}

// durationText writes a length of time as Duration reads it.
func durationText(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// Size reads a number of bytes such as 512, 64KiB, 16MiB or 2GiB, from least
// to most, both included.
func (v Value) Size(least, most int64) (int64, bool) {
	text, ok := v.Line()
	if !ok {
		return 0, false
	}
	size, ok := parseSize(text)
	if !ok {
		v.Errorf("%s must be a size such as 512KiB or 64MiB, not %q", v.noun, text)
		return 0, false
	}
	if size < least || size > most {
		v.Errorf("%s must be from %d to %d bytes, not %q", v.noun, least, most, text)
		return 0, false
	}
	return size, true
}

func parseSize(text string) (int64, bool) {
	number, factor := text, int64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if before, found := strings.CutSuffix(text, suffix); found {
			number, factor = strings.TrimSpace(before), int64(1)<<(10*(i+1))
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/factor {
		return 0, false
	}
	return int64(n) * factor, true
}
