package relay

import "slices"

// roll is a set of flows, each of which knows its place there. The Relay's lock
// guards it.
type roll struct {
	flows []*Flow
	place func(*Flow) *int
}

func (l *roll) add(f *Flow) {
	*l.place(f) = len(l.flows)
	l.flows = append(l.flows, f)
}

func (l *roll) remove(f *Flow) {
	last, place := len(l.flows)-1, *l.place(f)
	l.flows[place] = l.flows[last]
	*l.place(l.flows[place]) = place
	l.flows[last] = nil
	l.flows = l.flows[:last]
}

func (l *roll) all() []*Flow { return slices.Clone(l.flows) }
