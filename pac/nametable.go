package pac

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/policy"
)

// What a table of names says of a name.
const (
	itself = 1 // the name itself is meant
	under  = 2 // names under it are
)

func flags(isItself, isUnder bool) (bits uint8) {
	if isItself {
		bits |= itself
	}
	if isUnder {
		bits |= under
	}
	return bits
}

// namesOf lays patterns out so that the longest name decides: a pattern counts
// for the longer ones under it, too. Regular expressions are left out.
func namesOf(patterns []policy.Pattern) []policy.NamedName {
	says := map[string]uint8{}
	for i := range patterns {
		switch p := &patterns[i]; p.Kind {
		case policy.PatternSuffix:
			says[p.Name] |= itself | under
		case policy.PatternExact:
			says[p.Name] |= itself
		case policy.PatternBelow:
			says[p.Name] |= under
		case policy.PatternRegexp:
		}
	}
	var names []string
	for name := range says {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { // names above come before those under them
		return cmp.Or(strings.Count(a, ".")-strings.Count(b, "."), strings.Compare(a, b))
	})
	var all []policy.NamedName
	for _, name := range names {
		if above := nearestAbove(says, name); above&under != 0 {
			says[name] = itself | under
			continue // which is said already
		}
		all = append(all, policy.NamedName{Name: name, Itself: says[name]&itself != 0, Under: says[name]&under != 0})
	}
	slices.SortFunc(all, func(a, b policy.NamedName) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// nearestAbove is what is said of the longest name above name.
func nearestAbove(says map[string]uint8, name string) uint8 {
	for _, above, ok := strings.Cut(name, "."); ok; _, above, ok = strings.Cut(above, ".") {
		if bits, known := says[above]; known {
			return bits
		}
	}
	return 0
}
