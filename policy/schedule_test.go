package policy

import (
	"fmt"
	"testing"
	"time"
	_ "time/tzdata" // the zones of these tests, whatever the machine has
)

const everyDay = "Sun Mon Tue Wed Thu Fri Sat"

// hours reads "Mon Fri 09:00-17:00".
func hours(t testing.TB, text string) Hours {
	t.Helper()
	var h Hours
	for d := time.Sunday; d <= time.Saturday; d++ {
		for i := range len(text) - 2 {
			if text[i:i+3] == d.String()[:3] {
				h.Days[d] = true
			}
		}
	}
	var oh, om, ch, cm int
	if _, err := fmt.Sscanf(text[len(text)-11:], "%d:%d-%d:%d", &oh, &om, &ch, &cm); err != nil {
		t.Fatalf("hours %q: %v", text, err)
	}
	h.Open, h.Close = oh*60+om, ch*60+cm
	return h
}

func hoursIn(t testing.TB, zone string, texts ...string) *When {
	t.Helper()
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	w := &When{Zone: location}
	for _, text := range texts {
		w.Hours = append(w.Hours, hours(t, text))
	}
	return w
}

func unixOf(t testing.TB, text string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at.Unix()
}

// edges lists the changes of activeAt from one instant to another, as
// "+" or "-" and the time in the zone of the When.
func edges(t testing.TB, w *When, from, to int64) []string {
	t.Helper()
	var all []string
	for at := from; ; {
		edge := w.nextEdge(at)
		if edge == 0 || edge >= to {
			return all
		}
		if edge <= at {
			t.Fatalf("the edge after %d is %d", at, edge)
		}
		sign := "-"
		if w.activeAt(edge) {
			sign = "+"
		}
		all = append(all, sign+time.Unix(edge, 0).In(w.zone()).Format("Mon 15:04 -0700"))
		at = edge
	}
}

func TestScheduleHours(t *testing.T) {
	for _, tc := range []struct {
		name, zone string
		hours      []string
		from, to   string
		want       []string
	}{
		{"office hours", "America/Los_Angeles", []string{"Mon Tue Wed Thu Fri 09:00-17:00"},
			"2020-03-27T00:00:00-07:00", "2020-03-31T00:00:00-07:00",
			[]string{"+Fri 09:00 -0700", "-Fri 17:00 -0700", "+Mon 09:00 -0700", "-Mon 17:00 -0700"}},
		{"across midnight", "UTC", []string{"Sat 22:00-06:00"},
			"2020-03-27T00:00:00Z", "2020-03-31T00:00:00Z",
			[]string{"+Sat 22:00 +0000", "-Sun 06:00 +0000"}},
		{"a whole day", "UTC", []string{"Sat 00:00-24:00"},
			"2020-03-27T00:00:00Z", "2020-03-31T00:00:00Z",
			[]string{"+Sat 00:00 +0000", "-Sun 00:00 +0000"}},
		{"close equal to open is a day long", "UTC", []string{"Sat 08:00-08:00"},
			"2020-03-27T00:00:00Z", "2020-03-31T00:00:00Z",
			[]string{"+Sat 08:00 +0000", "-Sun 08:00 +0000"}},
		{"touching and overlapping windows are one", "UTC",
			[]string{"Sat 08:00-12:00", "Sat 12:00-13:00", "Sat 09:00-10:00", "Sat 12:30-02:00"},
			"2020-03-27T00:00:00Z", "2020-03-31T00:00:00Z",
			[]string{"+Sat 08:00 +0000", "-Sun 02:00 +0000"}},
		{"always", "Europe/Berlin", []string{everyDay + " 00:00-24:00"},
			"2020-03-27T00:00:00Z", "2021-03-31T00:00:00Z", nil},
		{"never", "Europe/Berlin", []string{"08:00-09:00"},
			"2020-03-27T00:00:00Z", "2021-03-31T00:00:00Z", nil},

		// Spring: in Los Angeles on March 8, 2020, 02:00 became 03:00.
		{"opening in the gap", "America/Los_Angeles", []string{"Sun 02:30-05:00"},
			"2020-03-07T00:00:00-08:00", "2020-03-09T00:00:00-07:00",
			[]string{"+Sun 03:00 -0700", "-Sun 05:00 -0700"}},
		{"closing in the gap", "America/Los_Angeles", []string{"Sun 01:00-02:30"},
			"2020-03-07T00:00:00-08:00", "2020-03-09T00:00:00-07:00",
			[]string{"+Sun 01:00 -0800", "-Sun 03:00 -0700"}},
		{"altogether in the gap", "America/Los_Angeles", []string{"Sun 02:15-02:45"},
			"2020-03-07T00:00:00-08:00", "2020-03-09T00:00:00-07:00",
			[]string{"+Sun 03:00 -0700", "-Sun 03:30 -0700"}},
		{"closing with the gap", "America/Los_Angeles", []string{"Sun 02:00-03:00"},
			"2020-03-07T00:00:00-08:00", "2020-03-09T00:00:00-07:00",
			[]string{"+Sun 03:00 -0700", "-Sun 04:00 -0700"}},
		{"around the gap", "America/Los_Angeles", []string{"Sat 22:00-06:00"},
			"2020-03-07T00:00:00-08:00", "2020-03-09T00:00:00-07:00",
			[]string{"+Sat 22:00 -0800", "-Sun 06:00 -0700"}},
		{"a gap at midnight", "America/Havana", []string{"Sun 00:00-24:00"},
			"2020-03-07T00:00:00-05:00", "2020-03-09T12:00:00-04:00",
			[]string{"+Sun 01:00 -0400", "-Mon 00:00 -0400"}},
		{"a gap up to midnight", "America/Nuuk", []string{"Sat 23:00-23:30"},
			"2024-03-29T00:00:00-02:00", "2024-04-01T00:00:00-01:00",
			[]string{"+Sun 00:00 -0100", "-Sun 00:30 -0100"}},
		{"a gap of half an hour", "Australia/Lord_Howe", []string{"Sun 02:10-02:20"},
			"2020-10-03T00:00:00+10:30", "2020-10-05T00:00:00+11:00",
			[]string{"+Sun 02:30 +1100", "-Sun 02:40 +1100"}},
		{"a day left out", "Pacific/Apia", []string{"Fri 00:00-24:00", "Fri 10:00-11:00"},
			"2011-12-28T00:00:00-10:00", "2012-01-02T00:00:00+14:00", nil},
		{"the days around a day left out", "Pacific/Apia", []string{"Thu 20:00-04:00", "Sat 08:00-09:00"},
			"2011-12-28T00:00:00-10:00", "2012-01-02T00:00:00+14:00",
			[]string{"+Thu 20:00 -1000", "-Sat 00:00 +1400", "+Sat 08:00 +1400", "-Sat 09:00 +1400"}},

		// Autumn: in Los Angeles on November 1, 2020, 02:00 became 01:00.
		{"opening in the fold", "America/Los_Angeles", []string{"Sun 01:30-03:00"},
			"2020-10-31T00:00:00-07:00", "2020-11-02T00:00:00-08:00",
			[]string{"+Sun 01:30 -0700", "-Sun 03:00 -0800"}},
		{"closing in the fold", "America/Los_Angeles", []string{"Sat 23:00-01:30"},
			"2020-10-31T00:00:00-07:00", "2020-11-02T00:00:00-08:00",
			[]string{"+Sat 23:00 -0700", "-Sun 01:30 -0800"}},
		{"altogether in the fold", "America/Los_Angeles", []string{"Sun 01:15-01:45"},
			"2020-10-31T00:00:00-07:00", "2020-11-02T00:00:00-08:00",
			[]string{"+Sun 01:15 -0700", "-Sun 01:45 -0800"}},
		{"opening behind the fold", "America/Los_Angeles", []string{"Sun 02:00-03:00"},
			"2020-10-31T00:00:00-07:00", "2020-11-02T00:00:00-08:00",
			[]string{"+Sun 02:00 -0800", "-Sun 03:00 -0800"}},
		{"a fold back over midnight", "Asia/Beirut", []string{"Sun 00:00-01:00", "Sat 23:30-24:00"},
			"2020-10-24T00:00:00+03:00", "2020-10-26T00:00:00+02:00",
			[]string{"+Sat 23:30 +0300", "-Sun 01:00 +0200"}},
		{"before 1970", "UTC", []string{"Thu 10:00-11:00"},
			"1960-03-01T00:00:00Z", "1960-03-05T00:00:00Z",
			[]string{"+Thu 10:00 +0000", "-Thu 11:00 +0000"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := hoursIn(t, tc.zone, tc.hours...)
			got := edges(t, w, unixOf(t, tc.from), unixOf(t, tc.to))
			if fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("edges %v, want %v", got, tc.want)
			}
		})
	}
}

func TestScheduleBounds(t *testing.T) {
	at := func(text string) time.Time {
		if text == "" {
			return time.Time{}
		}
		return time.Unix(unixOf(t, text), 0)
	}
	for _, tc := range []struct {
		name, from, until string
		hours             []string
		want              []string
	}{
		{"from", "2020-03-28T00:00:00Z", "", nil, []string{"+Sat 00:00 +0000"}},
		{"until", "", "2020-03-28T18:00:00Z", nil, []string{"-Sat 18:00 +0000"}},
		{"both", "2020-03-28T00:00:00Z", "2020-03-28T18:00:00Z", nil, []string{"+Sat 00:00 +0000", "-Sat 18:00 +0000"}},
		{"upside down", "2020-03-28T18:00:00Z", "2020-03-28T00:00:00Z", nil, nil},
		{"neither", "", "", nil, nil},
		{"from inside a window", "2020-03-28T10:00:00Z", "", []string{"Sat 09:00-11:00"}, []string{"+Sat 10:00 +0000", "-Sat 11:00 +0000"}},
		{"from outside every window", "2020-03-28T08:00:00Z", "", []string{"Sat 09:00-11:00"}, []string{"+Sat 09:00 +0000", "-Sat 11:00 +0000"}},
		{"until inside a window", "", "2020-03-28T10:00:00Z", []string{"Sat 09:00-11:00"}, []string{"+Sat 09:00 +0000", "-Sat 10:00 +0000"}},
		{"until where a window closes", "", "2020-03-28T11:00:00Z", []string{"Sat 09:00-11:00"}, []string{"+Sat 09:00 +0000", "-Sat 11:00 +0000"}},
		{"until where a window opens", "", "2020-03-28T09:00:00Z", []string{"Sat 09:00-11:00"}, nil},
		{"over before a window opens", "2020-03-28T07:00:00Z", "2020-03-28T08:00:00Z", []string{"Sat 09:00-11:00"}, nil},
		{"always, until", "", "2020-03-28T08:00:00Z", []string{everyDay + " 00:00-24:00"}, []string{"-Sat 08:00 +0000"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := hoursIn(t, "UTC", tc.hours...)
			w.From, w.Until = at(tc.from), at(tc.until)
			got := edges(t, w, unixOf(t, "2020-03-27T00:00:00Z"), unixOf(t, "2020-03-30T00:00:00Z"))
			if fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("edges %v, want %v", got, tc.want)
			}
		})
	}
}

// TestScheduleWithoutZone: hours count in UTC then.
func TestScheduleWithoutZone(t *testing.T) {
	w := &When{Hours: []Hours{hours(t, everyDay+" 09:00-10:00")}}
	if edge := w.nextEdge(unixOf(t, "2020-03-28T08:00:00Z")); edge != unixOf(t, "2020-03-28T09:00:00Z") {
		t.Errorf("the first edge is %s", time.Unix(edge, 0).UTC())
	}
}

// TestScheduleFractions: instants inside a second count from the next one.
func TestScheduleFractions(t *testing.T) {
	w := &When{From: time.Unix(100, 1), Until: time.Unix(200, 1)}
	for at, want := range map[int64]bool{100: false, 101: true, 200: true, 201: false} {
		if got := w.activeAt(at); got != want {
			t.Errorf("activeAt(%d) = %v, want %v", at, got, want)
		}
	}
	if edge := w.nextEdge(0); edge != 101 {
		t.Errorf("first edge %d, want 101", edge)
	}
}

// TestScheduleYear walks a year, minute by minute around clock changes and by
// quarters of an hour, to which all hours here are rounded, elsewhere: activeAt
// changes at the instants that nextEdge predicts, at all of them, and at no
// others; and on days without a clock change it is what the clock on the wall
// says.
func TestScheduleYear(t *testing.T) {
	schedules := [][]string{
		{"Mon Tue Wed Thu Fri 09:00-17:30", "Sat 22:00-02:30"},
		{"Sun 01:15-01:45", "Sun 02:15-02:45", "Sat 23:00-02:15", "Wed 00:00-24:00", "Thu 00:00-00:30"},
	}
	for _, zone := range []string{"America/Los_Angeles", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"} {
		for i, texts := range schedules {
			t.Run(fmt.Sprintf("%s/%d", zone, i), func(t *testing.T) {
				t.Parallel()
				walkYear(t, hoursIn(t, zone, texts...))
			})
		}
	}
}

func walkYear(t *testing.T, w *When) {
	begin, end := unixOf(t, "2020-01-01T00:00:00Z"), unixOf(t, "2021-01-01T00:00:00Z")
	active, edge, changes := w.activeAt(begin), w.nextEdge(begin), 0
	for at := begin; at < end; {
		_, sure := onTheWall(w, at)
		at += 15 * 60
		if !sure {
			at -= 14 * 60
		}
		now := w.activeAt(at)
		switch {
		case at == edge:
			if now == active {
				t.Fatalf("an edge was predicted for %s, but nothing changed", time.Unix(at, 0).In(w.Zone))
			}
			active, edge = now, w.nextEdge(at)
			changes++
		case now != active:
			t.Fatalf("changed at %s, predicted for %s", time.Unix(at, 0).In(w.Zone), time.Unix(edge, 0).In(w.Zone))
		}
		if at%(35*60) == 0 { // from anywhere between two edges
			if got := w.nextEdge(at); got != edge {
				t.Fatalf("the edge after %s is %s, from before it was %s", time.Unix(at, 0).In(w.Zone), time.Unix(got, 0).In(w.Zone), time.Unix(edge, 0).In(w.Zone))
			}
		}
		if want, sure := onTheWall(w, at); sure && now != want {
			t.Fatalf("activeAt(%s) = %v, the clock says %v", time.Unix(at, 0).In(w.Zone), now, want)
		}
	}
	if changes < 52*2*2 {
		t.Errorf("%d changes in a year are too few", changes)
	}
}

// onTheWall reads hours off the wall clock; sure is false within a day of a
// clock change, where that is not the whole story.
func onTheWall(w *When, unix int64) (active, sure bool) {
	at := time.Unix(unix, 0).In(w.Zone)
	begin, end := at.ZoneBounds()
	if at.Sub(begin) < 24*time.Hour || (!end.IsZero() && end.Sub(at) < 24*time.Hour) {
		return false, false
	}
	minute := at.Hour()*60 + at.Minute()
	today, yesterday := at.Weekday(), (at.Weekday()+6)%7
	for _, h := range w.Hours {
		if h.Close > h.Open {
			active = active || h.Days[today] && h.Open <= minute && minute < h.Close
			continue
		}
		active = active || h.Days[today] && minute >= h.Open || h.Days[yesterday] && minute < h.Close
	}
	return active, true
}

func BenchmarkSchedule(b *testing.B) {
	w := hoursIn(b, "America/Los_Angeles", "Mon Tue Wed Thu Fri 09:00-17:30")
	unix := unixOf(b, "2030-03-28T12:00:00Z")
	b.Run("active", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.activeAt(unix)
		}
	})
	b.Run("edge", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.nextEdge(unix)
		}
	})
}
