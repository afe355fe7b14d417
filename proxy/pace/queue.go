package pace

// waiter is a Take that waits. The lane's lock guards it until ready says that
// something was granted.
type waiter struct {
	wanted, granted int
	ready           chan struct{} // holds one
	before, behind  *waiter       // in the queue
}

// nowhere is the place of a queue in which nobody waits.
const nowhere = -1

// queue is those tunnels of a client that wait, in the order in which they came.
type queue struct {
	tag         int64 // bytes granted, as far as they count against others
	place       int   // among the turns
	first, last *waiter
}

func (q *queue) push(w *waiter) {
	w.before, w.behind = q.last, nil
	if q.last == nil {
		q.first = w
	} else {
		q.last.behind = w
	}
	q.last = w
}

func (q *queue) remove(w *waiter) {
	if w.before == nil {
		q.first = w.behind
	} else {
		w.before.behind = w.behind
	}
	if w.behind == nil {
		q.last = w.before
	} else {
		w.behind.before = w.before
	}
	w.before, w.behind = nil, nil
}

// turns is a heap of the queues in which somebody waits: the lowest tag is
// next.
type turns []*queue

// Len, Less, Swap, Push and Pop make it a heap.Interface.
func (t turns) Len() int           { return len(t) }
func (t turns) Less(i, j int) bool { return t[i].tag < t[j].tag }

func (t turns) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].place, t[j].place = i, j
}

// Push adds a *queue at the end.
func (t *turns) Push(x any) {
	q := x.(*queue)
	q.place = len(*t)
	*t = append(*t, q)
}

// Pop takes the one at the end away.
func (t *turns) Pop() any {
	last := len(*t) - 1
	q := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	q.place = nowhere
	return q
}
