package ingress

import (
	"context"
	"net/netip"
	"sync"
)

// DefaultWorkers is how many queries over UDP wait for upstreams at a time. At
// 50 ms an answer they do 40,000 a second; a worker that waits costs the stack
// of a goroutine.
const DefaultWorkers = 2048

// Workers answer the queries that no Desk could answer at once. All UDP
// listeners of a process share them. They start when there is work; when there
// is none a few stay, for a new goroutine grows its stack anew with its first
// query, which costs more than sending the reply. Who makes them closes them.
// Safe for concurrent use.
//
// While all are busy, each listener's queries wait in a queue of its own and
// the queues take turns: a flood at one listener does not starve another.
type Workers struct {
	limit   int // of the busy
	spare   int // of the idle
	running sync.WaitGroup
	tasks   sync.Pool // of *task

	mu      sync.Mutex
	busy    int
	waiting int
	turns   []*queue     // those that are not empty, next first
	idle    []chan *task // of each worker that waits for a task, the latest last
	closed  bool
}

// NewWorkers makes workers, at most limit of them at a time; DefaultWorkers
// where limit is 0 or less.
func NewWorkers(limit int) *Workers {
	if limit <= 0 {
		limit = DefaultWorkers
	}
	w := &Workers{limit: limit, spare: (limit + 7) / 8}
	w.tasks.New = func() any { return new(task) }
	return w
}

// Busy is how many workers have a query in hand.
func (w *Workers) Busy() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy
}

// Waiting is how many queries wait for a worker.
func (w *Workers) Waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiting
}

// Close returns when the last worker has ended. Call it when every listener
// that was given these workers has been served.
func (w *Workers) Close() {
	w.mu.Lock()
	w.closed = true
	for _, tasks := range w.idle {
		close(tasks)
	}
	w.idle = nil
	w.mu.Unlock()
	w.running.Wait()
}

// task is one query on its way to a worker: a copy, since its reader goes on.
type task struct {
	shift   *shift
	socket  udpSocket
	query   Query
	peer    netip.AddrPort // where the packet came from, and the reply goes
	control []byte         // which address the reply leaves from; empty: the kernel chooses
	memory  []byte         // of query.Wire
}

// shift is what the tasks of one listener have in common while it is served.
type shift struct {
	ctx      context.Context
	door     Door
	underWay sync.WaitGroup // tasks
}

// respond answers the task's query.
func (t *task) respond(dst []byte) {
	if reply := t.shift.door.Respond(t.shift.ctx, &t.query, dst); len(reply) > 0 {
		t.socket.reply(reply, t.control, t.peer)
	}
}

// newTask makes a task of a query; wire and control are copied.
func (w *Workers) newTask(s *shift, from udpSocket, q *Query, peer netip.AddrPort, control []byte) *task {
	t := w.tasks.Get().(*task)
	t.memory = append(t.memory[:0], q.Wire...)
	t.control = append(t.control[:0], control...)
	t.shift, t.socket, t.query, t.peer = s, from, *q, peer
	t.query.Wire = t.memory
	s.underWay.Add(1)
	return t
}

// end takes a task back, answered or not.
func (w *Workers) end(t *task) {
	s := t.shift
	t.shift, t.socket, t.query, t.peer = nil, nil, Query{}, netip.AddrPort{}
	w.tasks.Put(t)
	s.underWay.Done()
}

// hand gives tasks to workers, or to q until a worker is free. Where q is full
// its oldest makes room, for its client has waited longest and is the likeliest
// to have given up: that many were shed.
func (w *Workers) hand(q *queue, tasks []*task) (shed int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range tasks {
		if w.busy < w.limit {
			w.busy++
			w.employ(t)
			continue
		}
		if q.len() == len(q.ring) {
			w.end(w.take(q))
			shed++
		}
		if q.len() == 0 {
			w.turns = append(w.turns, q)
		}
		q.push(t)
		w.waiting++
	}
	return shed
}

// employ gives t to the worker that has been idle for the shortest time, whose
// memory the processor still has, or to a new one.
func (w *Workers) employ(t *task) {
	if last := len(w.idle) - 1; last >= 0 {
		w.idle[last] <- t // has room
		w.idle = w.idle[:last]
		return
	}
	w.running.Go(func() { w.work(t) })
}

// work answers t and then what else comes, until the worker is not needed.
func (w *Workers) work(t *task) {
	memory := make([]byte, replyBytes)
	tasks := make(chan *task, 1)
	for t != nil {
		t.respond(memory[:0])
		w.end(t)
		var rests bool
		if t, rests = w.next(tasks); rests {
			t = <-tasks // nil when the workers are closed
		}
	}
}

// next is the oldest task of the queue whose turn it is. Where none waits, the
// worker rests until it is sent one by its tasks, or is not needed.
func (w *Workers) next(tasks chan *task) (t *task, rests bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == 0 {
		w.busy--
		if w.closed || len(w.idle) == w.spare {
			return nil, false
		}
		w.idle = append(w.idle, tasks)
		return nil, true
	}
	q := w.turns[0]
	t = w.take(q)
	if q.len() > 0 { // to the back of the line
		copy(w.turns, w.turns[1:])
		w.turns[len(w.turns)-1] = q
	}
	return t, false
}

// take pops from a queue that is not empty.
func (w *Workers) take(q *queue) *task {
	t := q.pop()
	w.waiting--
	if q.len() == 0 {
		w.leave(q)
	}
	return t
}

// leave strikes q off the line.
func (w *Workers) leave(q *queue) {
	for i, other := range w.turns {
		if other == q {
			w.turns = append(w.turns[:i], w.turns[i+1:]...)
			return
		}
	}
}

// discard ends what waits in q without an answer.
func (w *Workers) discard(q *queue) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for q.len() > 0 {
		w.end(w.take(q))
	}
}

// queue is a ring of tasks. It is guarded by the Workers' lock.
type queue struct {
	ring  []*task // as long as the bound
	first int
	held  int
}

func newQueue(bound int) *queue { return &queue{ring: make([]*task, bound)} }

func (q *queue) len() int { return q.held }

func (q *queue) push(t *task) {
	q.ring[(q.first+q.held)%len(q.ring)] = t
	q.held++
}

func (q *queue) pop() *task {
	t := q.ring[q.first]
	q.ring[q.first] = nil
	q.first = (q.first + 1) % len(q.ring)
	q.held--
	return t
}
