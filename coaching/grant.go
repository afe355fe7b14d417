package coaching

import (
	"net/netip"
	"strings"
	"time"
	"unicode"

	"github.com/sallyport/sallyport/policy"
)

// MaxJustification bounds a justification, in characters.
const MaxJustification = 300

// Grant lets a holder past one warn rule of one app, until it ends.
type Grant struct {
	ID            string // given by the Store
	Key           policy.GrantKey
	Door          policy.Door // where the warning came
	Host          string      // what was asked for then
	From          netip.Addr  // from where it was continued
	Given         time.Time
	Until         time.Time // exclusive
	Justification string    // as [Tidy] leaves it; empty where none was given
	Decision      string    // id of the refusal that led to it; empty where there is none
}

// Tidy makes one line of a justification that somebody typed: white space
// becomes single spaces, what cannot be seen is left out, and what is longer
// than MaxJustification is cut.
func Tidy(justification string) string {
	text := strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case c == unicode.ReplacementChar || !unicode.IsGraphic(c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(justification, ""))
	text = strings.Join(strings.Fields(text), " ")
	characters := 0
	for i := range text {
		if characters == MaxJustification {
			return strings.TrimRight(text[:i], " ")
		}
		characters++
	}
	return text
}

// End is the end of a grant, rounded up to the whole second, so that however
// many end, there is one instant a second at which they do.
func End(given time.Time, lasts time.Duration) time.Time {
	end := given.Add(lasts)
	if whole := end.Truncate(time.Second); !whole.Equal(end) {
		return whole.Add(time.Second)
	}
	return end
}
