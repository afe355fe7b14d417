package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/strictyaml"
)

// readWhen reads the when of a rule. Its timezone holds for all times in it.
func (p *parser) readWhen(v strictyaml.Value) When {
	w := When{Position: v.Position()}
	zone, times := p.doc.Location, said{}
	before := len(p.problems)
	v.Mapping(strictyaml.Shape{
		Noun: "when",
		Fields: map[string]func(strictyaml.Value){
			"from":  times.note,
			"until": times.note,
			"hours": times.note,
			"timezone": func(v strictyaml.Value) {
				if z, ok := p.zone(v); ok {
					zone = z
				}
			},
		},
		Hints: map[string]string{"days": `write days with the hours, as in "Mon-Fri 09:00-17:00"`},
	})
	if from, ok := times["from"]; ok {
		w.From, _ = instant(from, zone)
	}
	if until, ok := times["until"]; ok {
		w.Until, _ = instant(until, zone)
	}
	if hours, ok := times["hours"]; ok {
		w.Zone, w.Hours = zone, readAllHours(hours)
	}
	if len(p.problems) == before && w.IsZero() {
		v.Errorf("%q is empty: remove it, or give it from, until or hours", v.Name())
	}
	return w
}

// readAllHours reads a list of weekly windows, or a single one, in which a comma
// stands between days.
func readAllHours(v strictyaml.Value) []Hours {
	var all []Hours
	visit := func(item strictyaml.Value) {
		if h, ok := readHours(item); ok {
			all = append(all, h)
		}
	}
	if v.IsScalar() {
		visit(v)
	} else {
		items(v, visit)
	}
	return all
}

func readHours(v strictyaml.Value) (Hours, bool) {
	text, ok := v.Line()
	if !ok {
		return Hours{}, false
	}
	h, err := parseHours(text)
	if err != nil {
		v.Errorf("%q is not a time of the week: %v", text, err)
		return Hours{}, false
	}
	h.Position = v.Position()
	return h, true
}

// parseHours reads a weekly window: "Mon-Fri 09:00-17:00", "Sat,Sun 10:00-14:00",
// "22:00-06:00" (every day, into the next), "Mon 00:00-24:00" (all of Monday).
func parseHours(text string) (Hours, error) {
	h := Hours{Text: text}
	days, window := "", spaceless(text)
	if at := strings.IndexAny(window, "0123456789"); at >= 0 {
		days, window = window[:at], window[at:]
	} else {
		return Hours{}, errors.New(`write the hours too, as in "Mon-Fri 09:00-17:00"; the whole day is 00:00-24:00`)
	}
	if err := h.parseDays(days); err != nil {
		return Hours{}, err
	}
	opening, closing, ok := strings.Cut(window, "-")
	open, okOpen := parseClock(opening)
	until, okClose := parseClock(closing)
	switch {
	case !ok || !okOpen || !okClose || open == minutesADay:
		return Hours{}, errors.New(`write hours as 09:00-17:00, with days before them if they do not hold every day`)
	case until == 0:
		until = minutesADay
	case open == until:
		return Hours{}, errors.New("it opens and closes at the same minute; the whole day is 00:00-24:00")
	}
	h.Open, h.Close = open, until
	return h, nil
}

const minutesADay = 24 * 60

// spaceless removes spaces and makes every dash a hyphen.
func spaceless(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\u00a0':
			return -1
		case '\u2013', '\u2014':
			return '-'
		}
		return r
	}, s)
}

// parseDays reads "", "Mon", "Mon-Fri", "Sat,Sun" or "Mon-Wed,Fri". A range may
// pass the end of the week: Fri-Mon.
func (h *Hours) parseDays(text string) error {
	if text == "" {
		h.Days = [7]bool{true, true, true, true, true, true, true}
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err := parseDay(first)
		if err != nil {
			return err
		}
		to, err := parseDay(last)
		if err != nil {
			return err
		}
		for day := from; ; day = (day + 1) % 7 {
			h.Days[day] = true
			if day == to {
				break
			}
		}
	}
	return nil
}

// parseDay reads a day of the week, in full or by its first three letters.
func parseDay(text string) (time.Weekday, error) {
	names := make([]string, 0, 7)
	for day := time.Sunday; day <= time.Saturday; day++ {
		name := day.String()
		if strings.EqualFold(text, name) || strings.EqualFold(text, name[:3]) {
			return day, nil
		}
		names = append(names, name[:3])
	}
	if near := strictyaml.Nearest(text, names); near != "" {
		return 0, fmt.Errorf("unknown day %q: did you mean %q?", text, near)
	}
	return 0, fmt.Errorf("unknown day %q: use Mon, Tue, Wed, Thu, Fri, Sat and Sun", text)
}

// parseClock reads 09:00 or 9:00 as minutes after midnight, up to 24:00.
func parseClock(s string) (int, bool) {
	hour, minute, ok := strings.Cut(s, ":")
	h, errHour := strconv.ParseUint(hour, 10, 8)
	m, errMinute := strconv.ParseUint(minute, 10, 8)
	if !ok || errHour != nil || errMinute != nil || len(hour) > 2 || len(minute) != 2 || m > 59 {
		return 0, false
	}
	minutes := int(h*60 + m)
	return minutes, minutes <= minutesADay
}
