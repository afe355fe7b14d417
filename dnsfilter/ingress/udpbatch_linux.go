package ingress

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sizes of what goes with a packet.
const (
	nameSlot    = 32 // the longest socket address is 28
	controlSlot = 64 // the longest control message we ask for is 40
)

// messageHeader is the kernel's struct mmsghdr.
type messageHeader struct {
	header unix.Msghdr
	length uint32 // of what was received or sent
}

// batch is the memory for packets that are read by one system call and
// answered by another. It is set up once; the kernel fills it in. A reply is
// sent with the name and the control message of its query, where they lie. One
// goroutine uses it.
type batch struct {
	received []messageHeader
	replies  []messageHeader
	replied  int // how many of replies are in use
	vectors  []unix.Iovec

	queryMemory, replyMemory, names, controls []byte
	zones                                     zones
}

// newBatch makes a batch of n packets, with control messages if wanted.
func newBatch(n int, control bool) *batch {
	b := &batch{
		received:    make([]messageHeader, n),
		replies:     make([]messageHeader, n),
		vectors:     make([]unix.Iovec, 2*n),
		queryMemory: make([]byte, n*querySlot),
		replyMemory: make([]byte, n*replyBytes),
		names:       make([]byte, n*nameSlot),
	}
	if control {
		b.controls = make([]byte, n*controlSlot)
	}
	for i := range n {
		query, reply := &b.received[i].header, &b.replies[i].header
		query.Iov, reply.Iov = &b.vectors[i], &b.vectors[n+i]
		query.SetIovlen(1)
		reply.SetIovlen(1)
		query.Iov.Base = &b.queryMemory[i*querySlot]
		query.Iov.SetLen(querySlot)
		query.Name = &b.names[i*nameSlot]
		if control {
			query.Control = &b.controls[i*controlSlot]
		}
	}
	b.reset(n)
	return b
}

// reset makes the first n packets ready to be received again.
func (b *batch) reset(n int) {
	for i := range n {
		header := &b.received[i].header
		header.Namelen = nameSlot
		if header.Control != nil {
			header.SetControllen(controlSlot)
		}
	}
	b.replied = 0
}

// query is the i-th packet; false where it did not fit.
func (b *batch) query(i int) (packet []byte, whole bool) {
	m := &b.received[i]
	start := i * querySlot
	return b.queryMemory[start : start+int(m.length)], m.header.Flags&unix.MSG_TRUNC == 0
}

// peer is whom the i-th packet is from. The kernel writes socket addresses in
// the machine's byte order but for port and address, in the network's.
func (b *batch) peer(i int) netip.AddrPort {
	name := b.names[i*nameSlot:][:nameSlot]
	port := binary.BigEndian.Uint16(name[2:4])
	switch binary.NativeEndian.Uint16(name) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(name[4:8])), port)
	case unix.AF_INET6:
		a := netip.AddrFrom16([16]byte(name[8:24])).Unmap()
		if a.Is6() && a.IsLinkLocalUnicast() {
			a = a.WithZone(b.zones.name(binary.NativeEndian.Uint32(name[24:28])))
		}
		return netip.AddrPortFrom(a, port)
	default:
		return netip.AddrPort{}
	}
}

// control is the control message that the reply to the i-th packet needs in
// order to leave from the address that was asked, empty where the kernel may
// choose; false where the packet was for many and not for us.
func (b *batch) control(i int) (control []byte, unicast bool) {
	header := &b.received[i].header
	if header.Control == nil {
		return nil, true
	}
	if header.Flags&unix.MSG_CTRUNC != 0 {
		header.SetControllen(0)
	}
	control = b.controls[i*controlSlot:][:header.Controllen]
	n, unicast := sourceControl(control)
	header.SetControllen(n)
	return control[:n], unicast
}

// replySlot is where the next reply may be written.
func (b *batch) replySlot() []byte {
	start := b.replied * replyBytes
	return b.replyMemory[start : start : start+replyBytes]
}

// reply makes reply the answer to the i-th packet. Call control(i) before.
func (b *batch) reply(i int, reply []byte) {
	query, answer := &b.received[i].header, &b.replies[b.replied].header
	answer.Name, answer.Namelen = query.Name, query.Namelen
	answer.Control, answer.Controllen = query.Control, query.Controllen
	answer.Iov.Base = unsafe.SliceData(reply)
	answer.Iov.SetLen(len(reply))
	b.replied++
}

// receive takes what is there, at most a batch. The socket never blocks, so
// that the call is short and the scheduler need not be told of it.
func (b *batch) receive(fd uintptr) (n int, errno syscall.Errno) {
	for {
		got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd,
			uintptr(unsafe.Pointer(&b.received[0])), uintptr(len(b.received)), 0, 0, 0)
		if errno == 0 {
			return int(got), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// send sends the replies from the first-th on, and says how many it has sent
// when errno, which is of the one after, stopped it.
func (b *batch) send(fd uintptr, first int) (n int, errno syscall.Errno) {
	for first+n < b.replied {
		sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd,
			uintptr(unsafe.Pointer(&b.replies[first+n])), uintptr(b.replied-first-n), 0, 0, 0)
		switch errno {
		case 0:
			n += int(sent)
		case unix.EINTR:
		default:
			return n, errno
		}
	}
	return n, 0
}

// batchesWork reports whether the kernel has the two system calls and lets us
// use them: a sandbox may not.
func batchesWork(fd uintptr) bool {
	var none messageHeader
	for _, call := range []uintptr{unix.SYS_RECVMMSG, unix.SYS_SENDMMSG} {
		_, _, errno := unix.Syscall6(call, fd, uintptr(unsafe.Pointer(&none)), 0, unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 && errno != unix.EAGAIN {
			return false
		}
	}
	return true
}
