package coaching

import "time"

// held is a grant in the store, with its place among the ends.
type held struct {
	Grant
	at int // in ends
}

// ends are grants as a heap (see container/heap), the next to end first.
type ends []*held

// Len is the number of grants.
func (e ends) Len() int { return len(e) }

// Less reports whether grant i ends before grant j.
func (e ends) Less(i, j int) bool { return e[i].Until.Before(e[j].Until) }

// Swap exchanges two places.
func (e ends) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].at, e[j].at = i, j
}

// Push adds a *held at the end.
func (e *ends) Push(x any) {
	h := x.(*held)
	h.at = len(*e)
	*e = append(*e, h)
}

// Pop takes the last one off.
func (e *ends) Pop() any {
	last := len(*e) - 1
	h := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	return h
}

// next is when the first of them ends; zero where there is none.
func (e ends) next() time.Time {
	if len(e) == 0 {
		return time.Time{}
	}
	return e[0].Until
}
