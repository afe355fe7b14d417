package policy

import "time"

// When limits a rule in time. The zero When is always.
type When struct {
	Position
	From  time.Time      // inclusive; zero: no start
	Until time.Time      // exclusive; zero: no end
	Hours []Hours        // any of them; empty: the whole day, every day
	Zone  *time.Location // of Hours; nil where Hours is empty
}

// Hours is a weekly window: the days on which it opens, and when it opens and
// closes. A window with Close <= Open closes on the following day.
type Hours struct {
	Position
	Days  [7]bool // indexed by time.Weekday
	Open  int     // minutes after midnight, 0..1439
	Close int     // minutes after midnight, 1..1440
	Text  string  // as written
}

// IsZero reports whether the When is always.
func (w *When) IsZero() bool {
	return w.From.IsZero() && w.Until.IsZero() && len(w.Hours) == 0
}
