package authority

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"
)

// FuzzVisitor reads a hello that was read before and what comes behind it, in
// pieces of any size: nothing is lost, doubled or swapped.
func FuzzVisitor(f *testing.F) {
	for _, hello := range realHellos(f) {
		f.Add(hello, []byte("behind"), uint16(1))
		f.Add(hello, []byte{}, uint16(len(hello)))
		f.Add(hello, hello, uint16(len(hello)+1))
	}
	f.Add([]byte{}, []byte("all of it"), uint16(3))
	f.Fuzz(func(t *testing.T, hello, behind []byte, piece uint16) {
		before := bytes.Clone(hello)
		v := &visitor{Conn: &scripted{Reader: iotest.HalfReader(bytes.NewReader(behind))}, hello: hello}
		var got []byte
		buffer := make([]byte, int(piece)+1)
		for {
			n, err := v.Read(buffer)
			got = append(got, buffer[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil || n == 0 {
				t.Fatalf("read %d bytes: %v", n, err)
			}
		}
		if want := append(bytes.Clone(before), behind...); !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, want %d", len(got), len(want))
		}
		if !bytes.Equal(hello, before) {
			t.Error("the caller's hello was changed")
		}
	})
}

// FuzzServe takes anything for a hello and for what comes behind it: Serve
// ends, closes the connection, and counts one thing.
func FuzzServe(f *testing.F) {
	a, registry := loaded(f, "zoom.us")
	for _, hello := range realHellos(f) {
		f.Add(hello, []byte{})
		f.Add(hello[:len(hello)/2], hello[len(hello)/2:])
		f.Add(append(bytes.Clone(hello), 21, 3, 3, 0, 2, 2, 48), []byte("GET / HTTP/1.1\r\n\r\n"))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), []byte{})
	f.Add([]byte{}, []byte{})
	total := func(t *testing.T) (sum float64) {
		for _, r := range []result{resultShown, resultUnused, resultUntrusted, resultNoLeaf, resultFailed} {
			sum += metric(t, registry, "sallyport_proxy_intercepted_total{"+string(r)+"}")
		}
		return sum
	}
	f.Fuzz(func(t *testing.T, hello, behind []byte) {
		before := total(t)
		conn := &scripted{Reader: bytes.NewReader(behind)}
		if !a.Serve(t.Context(), conn, hello, "zoom.us", memo()) {
			t.Error("no page for a name that is covered")
		}
		if !conn.closed {
			t.Error("the connection was left open")
		}
		if n := total(t) - before; n != 1 {
			t.Errorf("%v results were counted", n)
		}
	})
}

// scripted is a connection whose other side has said everything already, and
// takes whatever it is told.
type scripted struct {
	io.Reader
	closed bool
}

func (*scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (s *scripted) Close() error                   { s.closed = true; return nil }
func (*scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*scripted) SetDeadline(time.Time) error      { return nil }
func (*scripted) SetReadDeadline(time.Time) error  { return nil }
func (*scripted) SetWriteDeadline(time.Time) error { return nil }
