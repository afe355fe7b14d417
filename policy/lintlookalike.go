package policy

import (
	"strings"

	"golang.org/x/net/idna"
)

// lookAlike is the ASCII name that a name looks like without being it, such as
// zoom.us for a zоom.us with a Cyrillic о; "" where there is none. It knows the
// letters that are drawn alike in most fonts, not every one of Unicode's
// confusables: a warning on an honest name would do more harm than a missing
// one, since nothing depends on it.
func lookAlike(name string) string {
	if !strings.Contains(name, "xn--") {
		return ""
	}
	shown, err := idna.Punycode.ToUnicode(name)
	if err != nil {
		return ""
	}
	plain := true
	twin := strings.Map(func(r rune) rune {
		if r < 0x80 {
			return r
		}
		if ascii, ok := confusable(r); ok {
			return ascii
		}
		plain = false
		return r
	}, shown)
	if !plain {
		return ""
	}
	return twin
}

// confusable gives the Latin letter that a Cyrillic, Greek or Armenian one is
// drawn as.
func confusable(r rune) (rune, bool) {
	const (
		others = "асԁеһіјӏорԛѕԝхуοανιρυհոսօ"
		latin  = "acdehijlopqswxyoavipuhnuo"
	)
	at := 0
	for _, other := range others {
		if other == r {
			return rune(latin[at]), true
		}
		at++
	}
	return 0, false
}
