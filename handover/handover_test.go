//go:build linux

package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// patience is spent only where a test fails anyway.
const patience = 15 * time.Second

// old is a process that serves, and may be taken over from.
type old struct {
	*Sockets
	tcp   net.Listener
	udp   []net.PacketConn // two sockets that share an address
	alone net.PacketConn
}

func newOld(t *testing.T) *old {
	t.Helper()
	o := &old{Sockets: &Sockets{}}
	var err error
	if o.tcp, err = o.Listen(t.Context(), &net.ListenConfig{}, "proxy http", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	share := &net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		controlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(controlErr, err)
	}}
	address := "127.0.0.1:0"
	for range 2 {
		sockets, _, err := o.ListenPackets(t.Context(), share, "dns udp", "udp", address)
		if err != nil {
			t.Fatal(err)
		}
		o.udp = append(o.udp, sockets...)
		address = sockets[0].LocalAddr().String()
	}
	if o.alone, err = o.ListenAlone(t.Context(), &net.ListenConfig{}, "dns quic", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.stop)
	return o
}

func (o *old) stop() {
	_ = o.tcp.Close()
	for _, socket := range append(o.udp, o.alone) {
		_ = socket.Close()
	}
}

// handOver has a process take over that plays a role, and ends it with the
// test.
func (o *old) handOver(t *testing.T, ctx context.Context, role string) (*Successor, error) {
	t.Helper()
	next, err := o.HandOver(ctx, Program{Path: os.Args[0], Args: os.Args[:1], Env: append(os.Environ(),
		roleVariable+"="+role,
		tcpVariable+"=127.0.0.1:0", // the ports that the kernel chose, by the listeners' names
		udpVariable+"="+o.udp[0].LocalAddr().String(),
		aloneVariable+"=127.0.0.1:0",
	)})
	if err == nil {
		t.Cleanup(func() {
			_ = next.cmd.Process.Kill()
			<-next.Ended()
			_, _ = next.cmd.Process.Wait()
			next.Close()
		})
	}
	return next, err
}

// TestHandOver has a new process take over while datagrams and connections wait
// in the queues of the old one's sockets: the new one answers them all.
func TestHandOver(t *testing.T) {
	o := newOld(t)
	// More than the kernel gives to one of two sockets.
	var clients []net.Conn
	for range 40 {
		client := dialUDP(t, o.udp[0].LocalAddr())
		if _, err := client.Write([]byte("early")); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, client)
	}
	early, err := net.Dial("tcp", o.tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	lone := dialUDP(t, o.alone.LocalAddr())
	if _, err := lone.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}

	next, err := o.handOver(t, t.Context(), "serve")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := readLine(t, early), fmt.Sprintf("sockets 2, before %d, left false, upgrades 1 and 0, unused 0", os.Getpid()); got != want {
		t.Errorf("the connection that waited was told %q, want %q", got, want)
	}
	for _, client := range clients {
		wantEcho(t, client, "early")
	}
	// What one process alone may read is still the old one's.
	var b [16]byte
	if n, _, err := o.alone.ReadFrom(b[:]); err != nil || string(b[:n]) != "first" {
		t.Fatalf("the old process read %q from its own socket: %v", b[:n], err)
	}
	if _, err := lone.Write([]byte("second")); err != nil {
		t.Fatal(err)
	}
	if err := lone.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := lone.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the new process has read what is the old one's: %q, %v", b[:n], err)
	}
	o.stop()
	wantEcho(t, lone, "second") // it waited for the new one
	eventually(t, func() error {
		conn, err := net.Dial("tcp", o.tcp.Addr().String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if line := readLine(t, conn); !strings.Contains(line, "left true") {
			return fmt.Errorf("told %q", line)
		}
		return nil
	})
	if succeeded, failed := o.Upgrades(); succeeded != 1 || failed != 0 {
		t.Errorf("%d handovers succeeded and %d failed", succeeded, failed)
	}
	select {
	case <-next.Ended():
		t.Error("the new process has ended")
	default:
	}
}

// TestHandOverFails has processes take over that cannot, each in its own way:
// the old one is told why, and serves on.
func TestHandOverFails(t *testing.T) {
	o := newOld(t)
	for at, test := range []struct{ role, want string }{
		{"die", "ended before it was ready (process "},
		{"die", "exit status 3"},
		{"fail", "did not start: the policy is no good"},
		{"mumble", `said "perhaps"`},
		{"hang", "not ready in time: context deadline exceeded"},
	} {
		t.Run(test.role, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if test.role == "hang" {
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			}
			defer cancel()
			_, err := o.handOver(t, ctx, test.role)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if succeeded, failed := o.Upgrades(); succeeded != 0 || failed != uint64(at+1) {
				t.Errorf("%d handovers succeeded and %d failed, want 0 and %d", succeeded, failed, at+1)
			}
			accepted(t, o.tcp)
			echoed(t, o.alone)
		})
	}
	t.Run("no such program", func(t *testing.T) {
		_, err := o.HandOver(t.Context(), Program{Path: t.TempDir() + "/none"})
		if err == nil || !strings.Contains(err.Error(), "none") {
			t.Errorf("got %v", err)
		}
	})
	// The next one succeeds all the same, and knows of those before it.
	if _, err := o.handOver(t, t.Context(), "serve"); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", o.tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = o.tcp.Close()
	if line := readLine(t, conn); !strings.Contains(line, "upgrades 1 and 6") {
		t.Errorf("told %q", line)
	}
}

// TestHandOverWithoutSome hands over sockets of which the new process wants
// fewer, and after a listener was closed.
func TestHandOverWithoutSome(t *testing.T) {
	o := newOld(t)
	for range 2 {
		listener, err := o.Listen(t.Context(), &net.ListenConfig{}, "portal http", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
	}
	closed, err := o.Listen(t.Context(), &net.ListenConfig{}, "admin http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	if _, err := o.handOver(t, t.Context(), "serve"); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", o.tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if line := readLine(t, conn); !strings.Contains(line, "unused 2") {
		t.Errorf("told %q", line)
	}
}

// TestHandOverReserve has a new process find out early that an address is
// taken, and that another one can be had.
func TestHandOverReserve(t *testing.T) {
	o := newOld(t)
	taken := listenTCP(t)
	free := listenTCP(t)
	_ = free.Close()
	for _, test := range []struct{ address, want string }{
		{taken.Addr().String(), "address already in use"},
		{free.Addr().String(), "reserved: %!w(<nil>)"},
		{o.tcp.Addr().String(), "reserved: %!w(<nil>)"},
	} {
		_, err := o.HandOver(t.Context(), Program{Path: os.Args[0], Args: os.Args[:1], Env: append(os.Environ(),
			roleVariable+"=reserve", tcpVariable+"="+test.address)})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.address, err, test.want)
		}
	}
}

// TestHandOverKeepsSocketsNonBlocking makes sure that passing sockets on leaves
// the flag alone that old and new share: a socket that blocks would hold the old
// process's accept for ever.
func TestHandOverKeepsSocketsNonBlocking(t *testing.T) {
	o := newOld(t)
	if _, err := o.handOver(t, t.Context(), "serve"); err != nil {
		t.Fatal(err)
	}
	raw, err := o.tcp.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags %#x, %v", flags, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestInheritNonsense(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Dup2(int(file.Fd()), passedFrom); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"", "x", "1", "-1", "999999", fmt.Sprint(passedFrom)} {
		t.Setenv(handoverVariable, value)
		if s, err := Inherit(); err == nil || s != nil || !strings.Contains(err.Error(), "unset it") {
			t.Errorf("%s=%q: %v, %v", handoverVariable, value, s, err)
		}
	}
}

// TestAnotherProtocol talks to a process that speaks a later version.
func TestAnotherProtocol(t *testing.T) {
	for _, test := range []struct {
		name, said, want string
	}{
		{"version", `{"version": 2}`, "restart instead"},
		{"nonsense", `nonsense`, "read what it passes"},
		{"descriptor", `{"version": 1, "sockets": [{"fd": 950, "name": "dns udp", "asked": ":53"}]}`, "descriptor 950"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, theirs, err := socketPair()
			if err != nil {
				t.Fatal(err)
			}
			defer ours.Close()
			if err := unix.Dup2(int(theirs.Fd()), passedFrom); err != nil {
				t.Fatal(err)
			}
			_ = theirs.Close()
			if _, err := fmt.Fprintln(ours, test.said); err != nil {
				t.Fatal(err)
			}
			t.Setenv(handoverVariable, fmt.Sprint(passedFrom))
			if _, err := Inherit(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
			var w word
			if err := hearing(ours).Decode(&w); err != nil || w.Word != wordFailed || !strings.Contains(w.Text, test.want) {
				t.Errorf("it was told %+v, %v", w, err)
			}
		})
	}
}

// TestMembersFromTheFuture takes over from a process that says more than we
// know.
func TestMembersFromTheFuture(t *testing.T) {
	ours, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup2(int(theirs.Fd()), passedFrom); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	if _, err := fmt.Fprintln(ours, `{"version": 1, "pid": 77, "moon": "full", "sockets": [], "held": ["grants", "tides"]}`); err != nil {
		t.Fatal(err)
	}
	t.Setenv(handoverVariable, fmt.Sprint(passedFrom))
	s, err := Inherit()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Predecessor() != 77 {
		t.Errorf("the process before is %d", s.Predecessor())
	}
	<-s.Left("what it never had")
	if _, err := fmt.Fprintln(ours, `{"word": "wait"}`+"\n"+`{"word": "left", "text": "winter"}`+"\n"+`{"word": "left", "text": "tides"}`); err != nil {
		t.Fatal(err)
	}
	<-s.Left("tides")
	select {
	case <-s.Left("grants"):
		t.Error("it has left its grants already")
	default:
	}
	_ = ours.Close() // it dies
	<-s.Left("grants")
}

// TestAloneOutOfTurn closes a socket before its turn has come: whoever takes over
// waits until the process that had it first lets go of it.
func TestAloneOutOfTurn(t *testing.T) {
	o := newOld(t)
	turn := make(chan struct{})
	socket := newAlone(listenUDP(t), turn, nil)
	release := o.Hold("turn")
	socket.closed = func() { o.afterTurn(turn, release) }
	if err := socket.Close(); err != nil {
		t.Fatal(err)
	}
	if o.held["turn"] != 1 {
		t.Fatal("it was let go of before its turn")
	}
	close(turn)
	o.turns.Wait()
	if o.held["turn"] != 0 {
		t.Error("it is held still")
	}
	var b [1]byte
	if _, _, err := socket.ReadFrom(b[:]); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed socket is read: %v", err)
	}
}

// TestAloneIsHurried ends the wait for a turn by a deadline, as it ends a read.
func TestAloneIsHurried(t *testing.T) {
	socket := newAlone(listenUDP(t), make(chan struct{}), func() {})
	defer socket.Close()
	failed := make(chan error, 1)
	go func() {
		_, err := socket.ReadBatch([]ipv4.Message{{Buffers: [][]byte{make([]byte, 16)}}}, 0)
		failed <- err
	}()
	if err := socket.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		t.Fatalf("it was read out of turn: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := socket.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestHold holds two things: what is let go of before a new process is there, or
// while it starts, is told to it like the rest.
func TestHold(t *testing.T) {
	o := newOld(t)
	early, one, two := o.Hold("early"), o.Hold("late"), o.Hold("late")
	early()
	if _, err := o.handOver(t, t.Context(), "wait"); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", o.tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if line := readLine(t, conn); line != "early" {
		t.Errorf("it has %q for itself at first", line)
	}
	one()
	one() // counts once
	two()
	if line := readLine(t, conn); line != "late" {
		t.Errorf("it has %q for itself in the end", line)
	}
}

func dialUDP(t *testing.T, to net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func wantEcho(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	var b [64]byte
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(b[:]); err != nil || string(b[:n]) != want {
		t.Fatalf("got %q, %v, want %q", b[:n], err, want)
	}
}

func readLine(t *testing.T, conn net.Conn) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("read %q: %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

func eventually(t *testing.T, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v: %v", patience, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
