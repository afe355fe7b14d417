package strictyaml

import "strings"

// maxNearest bounds the names that are compared: a suggestion is worth a
// millisecond, not a second.
const maxNearest = 64

// Nearest is the name that was probably meant: the one at the smallest edit
// distance (Damerau: a swap of neighbours is one edit), if that is small for
// the length of the name; "" otherwise. Case does not count. Of equally near
// names the first in order wins.
func Nearest(name string, names []string) string {
	if len(name) > maxNearest {
		return ""
	}
	wanted := strings.ToLower(name)
	limit := 1 + len(wanted)/4
	if len(wanted) < 3 {
		limit = 1
	}
	best := ""
	for _, candidate := range names {
		if len(candidate) > maxNearest || abs(len(candidate)-len(wanted)) > limit {
			continue
		}
		if d := distance(wanted, strings.ToLower(candidate)); d <= limit && d < max(len(wanted), len(candidate)) {
			best, limit = candidate, d-1
		}
	}
	return best
}

// distance is the number of edits (insert, remove, replace, swap neighbours)
// that turn a into b. Bytes are compared: the names of a policy are ASCII, and
// elsewhere a slightly larger number does no harm.
func distance(a, b string) int {
	before := make([]int, len(b)+1) // the row before last
	last := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
