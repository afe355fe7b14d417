package relay

import "slices"

// roll is a set of flows. A flow is on one roll at a time, and knows its place
// there. The Relay's lock guards it.
type roll struct{ flows []*Flow }

func (l *roll) add(f *Flow) {
	f.place = len(l.flows)
	l.flows = append(l.flows, f)
}

func (l *roll) remove(f *Flow) {
	last := len(l.flows) - 1
	l.flows[f.place] = l.flows[last]
	l.flows[f.place].place = f.place
	l.flows[last] = nil
	l.flows = l.flows[:last]
}

func (l *roll) all() []*Flow { return slices.Clone(l.flows) }
