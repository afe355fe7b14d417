package ingress

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// breather lets the network be polled. Go's scheduler looks for packets only
// once it has nothing else to run: on one core a reader that always finds the
// next batch, even one that yields, would keep the answers of upstreams waiting
// for the 10 ms after which the runtime looks by itself. So the reader waits for
// a descriptor that it has just made ready: it goes on after one look at the
// network, and so does everybody whose packet was there. One goroutine uses it.
type breather struct {
	file  *os.File // nil where the system gives none: others may run, but nobody looks
	raw   syscall.RawConn
	ready bool
	word  [8]byte

	wait, drain func(fd uintptr) (done bool) // made once, since each costs an allocation
}

// newBreather makes a breather. The caller closes it.
func newBreather() *breather {
	b := &breather{}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return b
	}
	file := os.NewFile(uintptr(fd), "eventfd")
	if b.raw, err = file.SyscallConn(); err != nil {
		_ = file.Close()
		return b
	}
	b.file = file
	b.wait = func(fd uintptr) bool {
		if b.ready {
			return true
		}
		b.ready = true
		b.word = [8]byte{1} // whatever the byte order, it is not zero
		_, err := unix.Write(int(fd), b.word[:])
		return err != nil // else wait for it to be noticed
	}
	b.drain = func(fd uintptr) bool { // unready, for the next time to be an event again
		_, _ = unix.Read(int(fd), b.word[:])
		return true
	}
	return b
}

// breathe returns once the network was polled and everybody else has had a
// turn.
func (b *breather) breathe() {
	if b.file == nil {
		runtime.Gosched()
		return
	}
	b.ready = false
	_ = b.raw.Read(b.wait)
	_ = b.raw.Read(b.drain)
}

func (b *breather) close() {
	if b.file != nil {
		_ = b.file.Close()
	}
}
