package policy

import (
	"strings"
	"time"

	"github.com/sallyport/sallyport/strictyaml"
)

// commonZones are suggested where a time zone is misspelt. Every zone of the
// IANA database is accepted.
var commonZones = []string{
	"UTC", "Africa/Cairo", "Africa/Johannesburg", "Africa/Lagos", "Africa/Nairobi",
	"America/Anchorage", "America/Argentina/Buenos_Aires", "America/Bogota", "America/Chicago", "America/Denver",
	"America/Halifax", "America/Lima", "America/Los_Angeles", "America/Mexico_City", "America/New_York",
	"America/Phoenix", "America/Santiago", "America/Sao_Paulo", "America/Toronto", "America/Vancouver",
	"Asia/Bangkok", "Asia/Dubai", "Asia/Hong_Kong", "Asia/Jakarta", "Asia/Jerusalem", "Asia/Karachi", "Asia/Kolkata",
	"Asia/Manila", "Asia/Riyadh", "Asia/Seoul", "Asia/Shanghai", "Asia/Singapore", "Asia/Taipei", "Asia/Tokyo",
	"Australia/Brisbane", "Australia/Melbourne", "Australia/Perth", "Australia/Sydney",
	"Europe/Amsterdam", "Europe/Athens", "Europe/Berlin", "Europe/Brussels", "Europe/Bucharest", "Europe/Dublin",
	"Europe/Helsinki", "Europe/Istanbul", "Europe/Kyiv", "Europe/Lisbon", "Europe/London", "Europe/Madrid",
	"Europe/Moscow", "Europe/Oslo", "Europe/Paris", "Europe/Prague", "Europe/Rome", "Europe/Stockholm",
	"Europe/Vienna", "Europe/Warsaw", "Europe/Zurich", "Pacific/Auckland", "Pacific/Honolulu",
}

// zone reads the name of a time zone.
func (p *parser) zone(v strictyaml.Value) (*time.Location, bool) {
	name, ok := v.Line()
	if !ok {
		return nil, false
	}
	if zone, known := p.zones[name]; known {
		return zone, true
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		hint := "use a name of the IANA database, such as America/Los_Angeles or UTC"
		if near := strictyaml.Nearest(name, commonZones); near != "" {
			hint = `did you mean "` + near + `"?`
		}
		v.Errorf("unknown time zone %q: %s", name, hint)
		return nil, false
	}
	p.zones[name] = zone
	return zone, true
}

// zonedLayouts and localLayouts are the ways to write an instant.
var (
	zonedLayouts = []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00"}
	localLayouts = []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly}
)

// instant reads a point in time: RFC 3339, or without a zone as in zone. A
// local time that comes twice, when clocks go back, is the first of the two. A
// date alone is the first instant of that day.
func instant(v strictyaml.Value, zone *time.Location) (time.Time, bool) {
	text, ok := v.Line()
	if !ok {
		return time.Time{}, false
	}
	if strings.Contains(text, ":") && strings.ContainsAny(text, ".,") {
		v.Errorf("%q has a fraction: times are in whole seconds", text)
		return time.Time{}, false
	}
	for _, layout := range zonedLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	for _, layout := range localLayouts {
		t, err := time.ParseInLocation(layout, text, zone)
		if err != nil {
			continue
		}
		switch {
		case t.Format(layout) == text:
			return firstOccurrence(t), true
		case layout == time.DateOnly:
			return afterGap(t), true
		default:
			v.Errorf("%q does not exist in %s: clocks go forward over it; write %s", text, zone, afterGap(t).Format(layout))
			return time.Time{}, false
		}
	}
	v.Errorf("%q is not a time: write it as 2020-03-28T09:00, 2020-03-28 or 2020-03-28T09:00:00-07:00", text)
	return time.Time{}, false
}

// afterGap is the instant at which clocks went forward, for a time near it.
func afterGap(t time.Time) time.Time {
	start, end := t.ZoneBounds()
	if !end.IsZero() && (start.IsZero() || end.Sub(t) < t.Sub(start)) {
		return end.In(t.Location())
	}
	return start.In(t.Location())
}

// firstOccurrence is the earlier of the two instants that share t's local time
// when clocks go back, and t where there is one only.
func firstOccurrence(t time.Time) time.Time {
	start, _ := t.ZoneBounds()
	if start.IsZero() {
		return t
	}
	_, now := t.Zone()
	_, before := start.Add(-time.Second).Zone()
	earlier := t.Add(time.Duration(now-before) * time.Second)
	if earlier.Before(start) {
		return earlier
	}
	return t
}
