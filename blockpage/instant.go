package blockpage

import "time"

// instantLayout is how people read a moment: the day, and the time with its zone.
const instantLayout = "Mon 2 Jan 2006, 15:04 MST"

// Instant is a moment as a page shows it: Text for people, Machine (RFC 3339) for
// the datetime attribute of the time element.
type Instant struct{ Text, Machine string }

// NewInstant shows at in the zone that it is in. The zero time is the zero Instant.
func NewInstant(at time.Time) Instant {
	if at.IsZero() {
		return Instant{}
	}
	return Instant{Text: at.Format(instantLayout), Machine: at.Format(time.RFC3339)}
}
