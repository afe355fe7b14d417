package relay

import (
	"crypto/sha256"
	"io"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPipesAreBounded(t *testing.T) {
	before := descriptors(t, "pipe:")
	p := newPipes(2)
	one, two := p.get(), p.get()
	if one == nil || two == nil {
		t.Fatal("no pipe")
	}
	if p.get() != nil {
		t.Error("a third pipe of two")
	}
	p.put(one, true)
	if got := p.get(); got != one {
		t.Error("a spare pipe is not used again")
	}
	if _, err := unix.Write(two.in, []byte("left")); err != nil {
		t.Fatal(err)
	}
	p.put(two, false)
	three := p.get()
	if three == nil {
		t.Fatal("no pipe in place of one that was closed")
	}
	if n, err := unix.Read(three.out, make([]byte, 8)); err != unix.EAGAIN {
		t.Errorf("a new pipe holds %d bytes: %v", n, err)
	}
	p.put(one, true)
	p.put(three, true)
	p.close()
	if got := descriptors(t, "pipe:"); got != before {
		t.Errorf("%d descriptors are left", got-before)
	}
}

// Pipes that nobody needs for a while are closed, and the others are not.
func TestPipesAreTrimmed(t *testing.T) {
	p := newPipes(4)
	defer p.close()
	busy := []*pipe{p.get(), p.get(), p.get()}
	for _, used := range busy {
		p.put(used, true)
	}
	p.trim() // all were in use since the beginning
	if p.open != 3 {
		t.Fatalf("%d open", p.open)
	}
	p.put(p.get(), true)
	p.trim() // two were not in use since
	if p.open != 1 || len(p.spare) != 1 {
		t.Errorf("%d open, %d spare", p.open, len(p.spare))
	}
	p.trim()
	if p.open != 0 {
		t.Errorf("%d open", p.open)
	}
}

// More tunnels than pipes carry a lot at once: the others copy.
func TestMoreTunnelsThanPipes(t *testing.T) {
	r := relayWith(t, Config{Pipes: 1})
	data := noise(4 << 20)
	var things []func()
	for range 8 {
		u := open(t, r, nil, "")
		things = append(things,
			func() { _, _ = u.client.Write(data); _ = u.client.CloseWrite() },
			func() {
				got, err := io.ReadAll(u.server)
				if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
					t.Errorf("%d bytes: %v", len(got), err)
				}
			})
	}
	together(things...)
	r.pipes.mu.Lock()
	defer r.pipes.mu.Unlock()
	if r.pipes.open > 1 {
		t.Errorf("%d pipes", r.pipes.open)
	}
}

// An unprivileged user has room in so many pipes, and then gets tiny ones,
// which are of no use.
func TestPipesOfTheUnprivileged(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	if err := dropCapabilities(); err != nil {
		t.Skip(err)
	}
	const most = 200
	var full []*pipe
	defer func() {
		for _, made := range full {
			made.close()
		}
	}()
	for len(full) < most {
		made := newPipe()
		if made == nil {
			break
		}
		if size, err := unix.FcntlInt(uintptr(made.in), unix.F_GETPIPE_SZ, 0); err != nil || size < leastPipe {
			t.Fatalf("a pipe with room for %d bytes: %v", size, err)
		}
		full = append(full, made)
	}
	if len(full) == most {
		t.Skip("this system grants any number of pipes")
	}
	p := newPipes(4)
	defer p.close()
	if p.get() != nil {
		t.Error("a pipe beyond the limit")
	}
	if p.open != 0 || !p.denied {
		t.Errorf("%d open, denied %v", p.open, p.denied)
	}
	for _, made := range full {
		made.close()
	}
	full = nil
	if p.get() != nil {
		t.Error("the system was asked again at once")
	}
	p.trim()
	again := p.get()
	for tries := 0; again == nil; tries++ {
		made := newPipe()
		if made == nil {
			t.Skip("other processes of this user have taken the room meanwhile")
		}
		made.close()
		if tries == 10 {
			t.Fatal("the system was not asked again")
		}
		p.trim()
		again = p.get()
	}
	p.put(again, true)
}

// dropCapabilities makes this thread an unprivileged one.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}
