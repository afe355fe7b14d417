//go:build unix

package handover

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// passedFrom is where the tests' descriptors begin: systemd's would be those
// from 3, which the test binary has other uses for.
const passedFrom = 700

// pass puts sockets where a process started by systemd finds them, and sets the
// environment that tells of them.
func pass(t *testing.T, names string, sockets ...syscall.Conn) {
	t.Helper()
	for at, socket := range sockets {
		raw, err := socket.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if controlErr := raw.Control(func(fd uintptr) { err = unix.Dup2(int(fd), passedFrom+at) }); controlErr != nil || err != nil {
			t.Fatal(controlErr, err)
		}
	}
	t.Setenv(listenPID, strconv.Itoa(os.Getpid()))
	t.Setenv(listenFDs, strconv.Itoa(len(sockets)))
	if names != "" {
		t.Setenv(listenFDName, names)
	}
}

func listenTCP(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

func listenUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UDPConn)
}

// inheritPassed is Inherit for what pass has put there.
func inheritPassed(t *testing.T) *Sockets {
	t.Helper()
	s, err := inherit(os.Getpid(), passedFrom)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestSystemd takes sockets over as systemd passes them, in another order than
// the listeners ask for them, and opens what was not passed.
func TestSystemd(t *testing.T) {
	tcp, other, udp := listenTCP(t), listenTCP(t), listenUDP(t)
	pass(t, "door:unknown:", tcp, udp, other)
	s := inheritPassed(t)
	for _, name := range []string{listenPID, listenFDs, listenFDName} {
		if value, ok := os.LookupEnv(name); ok {
			t.Errorf("%s=%q is still in the environment", name, value)
		}
	}
	packets, inherited, err := s.ListenPackets(t.Context(), &net.ListenConfig{}, "dns udp", "udp", udp.LocalAddr().String())
	if err != nil || !inherited || len(packets) != 1 {
		t.Fatalf("%d sockets, inherited %v: %v", len(packets), inherited, err)
	}
	defer packets[0].Close()
	var wanted string
	config := &net.ListenConfig{Control: func(_, address string, raw syscall.RawConn) error {
		wanted = address
		return raw.Control(func(fd uintptr) {
			if on, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || on&unix.FD_CLOEXEC == 0 {
				t.Errorf("descriptor flags %#x, %v: programs that we start would get it", on, err)
			}
		})
	}}
	listener, err := s.Listen(t.Context(), config, "proxy http", other.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if wanted != other.Addr().String() {
		t.Errorf("the options are set for %q, want %s", wanted, other.Addr())
	}
	fresh, err := s.Listen(t.Context(), &net.ListenConfig{}, "admin http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()

	// Nobody has asked for the first of them.
	_, err = s.Settle()
	for _, want := range []string{tcp.Addr().String(), `"door"`, "socket unit"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	// The socket is the one that was passed: what connects to its address is
	// accepted, with the original closed.
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	accepted(t, listener)
}

// accepted connects to a listener and accepts.
func accepted(t *testing.T, l net.Listener) {
	t.Helper()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestSystemdPassesWhatCannotBeUsed(t *testing.T) {
	listener := listenTCP(t)
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	local, err := net.Listen("unix", t.TempDir()+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, test := range []struct {
		name   string
		socket syscall.Conn
		want   string
	}{
		{"connection", client.(*net.TCPConn), "Accept=no"},
		{"local socket", local.(*net.UnixListener), "not TCP"},
		{"file", file, "not a socket"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pass(t, "a:b", listener, test.socket)
			_, err := inherit(os.Getpid(), passedFrom)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `"b"`) || strings.Contains(err.Error(), `"a"`) {
				t.Errorf("got %v", err)
			}
		})
	}
	// None of them was closed but the duplicates.
	accepted(t, listener)
}

func TestSystemdEnvironment(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	for _, test := range []struct {
		name             string
		pid, count, list string
		err, remark      string
	}{
		{name: "nothing"},
		{name: "no sockets", pid: pid, count: "0"},
		{name: "another process", pid: "1", count: "2", remark: "use exec"},
		{name: "no process", count: "1", remark: "use exec"},
		{name: "not a number", pid: pid, count: "two", err: `LISTEN_FDS="two"`},
		{name: "negative", pid: pid, count: "-1", err: `LISTEN_FDS="-1"`},
		{name: "too many", pid: pid, count: "100000", err: "0 to 4096"},
		{name: "names missing", pid: pid, count: "2", list: "one", err: `LISTEN_FDNAMES="one"`},
		{name: "not open", pid: pid, count: "1", err: "not an open descriptor"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range map[string]string{listenPID: test.pid, listenFDs: test.count, listenFDName: test.list} {
				if value != "" {
					t.Setenv(name, value)
				}
			}
			s, err := inherit(os.Getpid(), 900)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("got %v, want %q", err, test.err)
			}
			if got := strings.Join(s.Remarks(), "\n"); (got == "") != (test.remark == "") || !strings.Contains(got, test.remark) {
				t.Errorf("remarks %q, want %q", got, test.remark)
			}
		})
	}
}

// TestNothingInherited opens everything, as a process does that is started by
// hand, and as one does that knows of no Sockets.
func TestNothingInherited(t *testing.T) {
	s, err := Inherit()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, s := range []*Sockets{s, nil} {
		listener, err := s.Listen(t.Context(), &net.ListenConfig{}, "proxy http", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		accepted(t, listener)
		_ = listener.Close()
		packets, inherited, err := s.ListenPackets(t.Context(), &net.ListenConfig{}, "dns udp", "udp", "127.0.0.1:0")
		if err != nil || inherited || len(packets) != 1 {
			t.Fatalf("%v, inherited %v: %v", packets, inherited, err)
		}
		_ = packets[0].Close()
		alone, err := s.ListenAlone(t.Context(), &net.ListenConfig{}, "dns quic", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		echoed(t, alone)
		_ = alone.Close()
		if err := s.Reserve(t.Context(), &net.ListenConfig{}, "127.0.0.1:0"); err != nil {
			t.Error(err)
		}
		if unused, err := s.Settle(); err != nil || unused != nil {
			t.Error(unused, err)
		}
		if err := s.Ready(); err != nil {
			t.Error(err)
		}
		s.Failed(context.Canceled)
		<-s.Left("grants")
		s.Hold("grants")()
		if pid := s.Predecessor(); pid != 0 {
			t.Errorf("the process before is %d", pid)
		}
	}
	if _, err := (*Sockets)(nil).HandOver(t.Context(), Program{Path: os.Args[0]}); err == nil {
		t.Error("sockets that are not known were handed over")
	}
}

// echoed sends a datagram to a socket and reads it there.
func echoed(t *testing.T, conn net.PacketConn) {
	t.Helper()
	client, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	var b [16]byte
	if n, _, err := conn.ReadFrom(b[:]); err != nil || string(b[:n]) != "hello" {
		t.Fatalf("read %q: %v", b[:n], err)
	}
}

func TestListenFails(t *testing.T) {
	taken := listenTCP(t)
	s := &Sockets{}
	if _, err := s.Listen(t.Context(), &net.ListenConfig{}, "proxy http", taken.Addr().String()); err == nil {
		t.Error("an address was had twice")
	}
	if _, err := s.Listen(t.Context(), &net.ListenConfig{}, "proxy http", "nonsense"); err == nil {
		t.Error("nonsense was listened on")
	}
	if _, _, err := s.ListenPackets(t.Context(), &net.ListenConfig{}, "dns udp", "udp", "nonsense"); err == nil {
		t.Error("nonsense was listened on")
	}
	if _, err := s.ListenAlone(t.Context(), &net.ListenConfig{}, "dns quic", "nonsense"); err == nil {
		t.Error("nonsense was listened on")
	}
}
