package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// The names of the play.
const (
	zoom   = "us04web.zoom.us"
	teams  = "teams.microsoft.com"
	vanity = "launch.rockets.example" // an alias of zoom
	crane  = "zoomlion.com"           // a maker of cranes
)

// The cast. The memo is for both; the liaison has an exception until April 3.
func cast() (alex, priya person) {
	alex = person{name: "Alex", user: "alex@corp.example", password: "apogee", desk: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	priya = person{name: "Priya", user: "priya@corp.example", password: "orbit", desk: netip.AddrFrom4([4]byte{127, 0, 0, 2})}
	return alex, priya
}

// row is one line of the table: what was done, what came of it, and whether
// that is what the memo says.
type row struct {
	at         time.Time
	who, what  string
	dns, proxy string
	why        string
	wrong      string // what should have been instead; empty: as the memo says
}

// play goes through the memo's week and gives a row for each thing that is
// done. An error means that the play could not go on, not that a row is wrong.
func play(ctx context.Context, policy []byte) ([]row, error) {
	zone, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		return nil, fmt.Errorf("find the memo's time zone: %w", err)
	}
	day := func(month time.Month, day, hour, minute, second int) time.Time {
		return time.Date(2020, month, day, hour, minute, second, 0, zone)
	}
	alex, priya := cast()
	s, err := openStage(ctx, policy, day(time.March, 27, 16, 0, 0), []person{alex, priya},
		[]string{zoom, teams, crane}, map[string]string{vanity: zoom})
	if err != nil {
		return nil, err
	}
	p := &performance{stage: s, ctx: ctx}

	// The day before: nothing is forbidden yet.
	p.knock(alex, zoom, open("default"))
	p.knock(alex, teams, open("approved"))
	p.setClock(day(time.March, 27, 23, 59, 50))
	alexMeets := p.join(alex, zoom, "default")
	priyaMeets := p.join(priya, zoom, "nasa-review")

	// The memo takes effect, in the middle of two meetings.
	p.setClock(day(time.March, 28, 0, 0, 0))
	p.cut(alexMeets, "zoom-memo")
	p.goesOn(priyaMeets)
	p.knock(alex, zoom, refused("zoom-memo"))
	p.knock(alex, vanity, refused("zoom-memo"))
	p.knock(alex, teams, open("approved"))
	p.knock(alex, crane, open("default"))
	p.knock(priya, zoom, open("nasa-review"))

	// The liaison's exception holds to its last second, and not longer.
	p.setClock(day(time.April, 3, 17, 59, 59))
	p.goesOn(priyaMeets)
	p.knock(priya, zoom, open("nasa-review"))
	p.setClock(day(time.April, 3, 18, 0, 0))
	p.cut(priyaMeets, "zoom-memo")
	p.knock(priya, zoom, refused("zoom-memo"))
	p.knock(priya, teams, open("approved"))

	for _, m := range []*meeting{alexMeets, priyaMeets} {
		if m != nil {
			m.leave()
		}
	}
	if err := s.close(ctx); p.err == nil && err != nil {
		p.err = fmt.Errorf("clear the stage: %w", err)
	}
	return p.rows, p.err
}

// expectation is what the memo says of a knock, the same at both doors: the
// answer, and the rule it comes from.
type expectation struct{ word, rule string }

func open(rule string) expectation { return expectation{word: saysOpen, rule: rule} }

func refused(rule string) expectation { return expectation{word: saysRefused, rule: rule} }
