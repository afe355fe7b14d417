package ingress

import (
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How a reader treats its neighbours.
const (
	// breathAfter is for how long a reader that never waits keeps the network
	// from being polled, see breather: a look costs as much as a query or two.
	breathAfter = 300 * time.Microsecond
	// sendPatience is how long a batch waits for a device that takes nothing
	// more; then its replies are given up, for new queries wait behind them.
	sendPatience = 50 * time.Millisecond
	// lastBatches bounds what is still read after the end: more than any
	// receive buffer holds, for clients may go on sending.
	lastBatches = 512
)

// batchSocket reads and answers batches by recvmmsg and sendmmsg. Its reader
// is one goroutine; reply, stop, close and dropped may be called by any.
type batchSocket struct {
	listener *UDPListener
	conn     *net.UDPConn
	raw      syscall.RawConn
	drops    *kernelDrops
	batch    *batch
	query    Query     // the one in hand; a variable would be allocated for each
	tasks    []*task   // of this batch, for the workers
	arrived  time.Time // of this batch, once there are tasks

	// What the callbacks have done; see newBatchSocket.
	received int
	waited   bool // there was nothing to receive at first
	sent     int
	errno    syscall.Errno
	patient  bool // wait until the device takes more

	// The callbacks are made once, since each costs an allocation.
	receive, send func(fd uintptr) (done bool)
}

func newBatchSocket(l *UDPListener, conn *net.UDPConn, raw syscall.RawConn, drops *kernelDrops) *batchSocket {
	s := &batchSocket{
		listener: l, conn: conn, raw: raw, drops: drops,
		batch: newBatch(l.config.Batch, l.local.Addr().IsUnspecified()),
		tasks: make([]*task, 0, l.config.Batch),
	}
	s.receive = func(fd uintptr) bool {
		s.received, s.errno = s.batch.receive(fd)
		s.waited = s.waited || s.errno == unix.EAGAIN
		return s.errno != unix.EAGAIN // else wait for more
	}
	s.send = func(fd uintptr) bool {
		var n int
		n, s.errno = s.batch.send(fd, s.sent)
		s.sent += n
		return s.errno != unix.EAGAIN || !s.patient
	}
	return s
}

// read is udpSocket's.
func (s *batchSocket) read(shift *shift) {
	desk := shift.door.Desk()
	breather := newBreather()
	defer breather.close()
	polled := time.Now() // the network, at the latest
	for {
		s.waited = false
		if err := s.raw.Read(s.receive); err != nil { // stopped or closed
			s.readLast(shift, desk)
			return
		}
		if s.errno != 0 {
			s.listener.pause() // once reading is over, the next Read says so
			continue
		}
		declined := s.answer(shift, desk)
		switch now := time.Now(); {
		case s.waited:
			polled = now
		case now.Sub(polled) > breathAfter:
			breather.breathe()
			polled = time.Now()
		case declined:
			runtime.Gosched() // workers may begin
		}
	}
}

// readLast answers what the kernel still holds when reading ends.
func (s *batchSocket) readLast(shift *shift, desk Desk) {
	for range lastBatches {
		err := s.raw.Control(func(fd uintptr) { s.receive(fd) })
		if err != nil || s.errno != 0 {
			return
		}
		s.answer(shift, desk)
	}
}

// answer answers one batch; true where some of it went to the workers.
func (s *batchSocket) answer(shift *shift, desk Desk) (declined bool) {
	desk.Begin()
	for i := range s.received {
		s.try(i, shift, desk)
	}
	s.sendReplies()
	desk.End()
	s.batch.reset(s.received)
	if len(s.tasks) == 0 {
		return false
	}
	s.listener.hand(s.tasks)
	clear(s.tasks)
	s.tasks = s.tasks[:0]
	return true
}

// try answers the i-th query of the batch, or makes a task of it.
func (s *batchSocket) try(i int, shift *shift, desk Desk) {
	packet, whole := s.batch.query(i)
	control, unicast := s.batch.control(i)
	if !whole || !unicast {
		s.listener.config.Shed(ShedMalformed, 1)
		return
	}
	peer := s.batch.peer(i)
	client, wire, ok := s.listener.admit(packet, peer)
	if !ok {
		return
	}
	s.query = Query{Wire: wire, Client: client, Transport: UDP}
	reply, done := desk.Try(&s.query, s.batch.replySlot())
	if !done {
		if len(s.tasks) == 0 {
			s.arrived = time.Now() // answering those before it took microseconds
		}
		s.query.Arrived = s.arrived
		s.tasks = append(s.tasks, s.listener.config.Workers.newTask(shift, s, &s.query, peer, control))
		return
	}
	if len(reply) > 0 {
		s.batch.reply(i, reply)
	}
}

// sendReplies sends the replies of the batch. One that the kernel refuses, for
// its destination most likely, does not keep the others back.
func (s *batchSocket) sendReplies() {
	s.sent, s.patient = 0, false
	for s.sent < s.batch.replied {
		if err := s.raw.Write(s.send); err != nil { // closed, or out of patience
			s.giveUp(s.batch.replied - s.sent)
			break
		}
		switch {
		case s.errno == unix.EAGAIN:
			s.patient = true
			_ = s.conn.SetWriteDeadline(time.Now().Add(sendPatience))
		case s.errno != 0:
			s.sent++
			s.giveUp(1)
		}
	}
	if s.patient {
		_ = s.conn.SetWriteDeadline(time.Time{})
	}
}

func (s *batchSocket) giveUp(replies int) { s.listener.unsent.Add(uint64(replies)) }

// reply is udpSocket's: workers send one by one, and wait where they must.
func (s *batchSocket) reply(reply, control []byte, to netip.AddrPort) {
	if _, _, err := s.conn.WriteMsgUDPAddrPort(reply, control, to); err != nil {
		s.giveUp(1)
	}
}

func (s *batchSocket) stop() { _ = s.conn.SetReadDeadline(longAgo) }

func (s *batchSocket) close() {
	s.drops.count() // the last time that the kernel can tell
	_ = s.conn.Close()
}

func (s *batchSocket) dropped() uint64 { return s.drops.count() }
