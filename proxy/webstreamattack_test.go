package proxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawSession is a connection whose client says in HTTP/2 what it likes.
type rawSession struct {
	*http2.Framer
	t     *testing.T
	conn  *secureClient
	head  bytes.Buffer
	hpack *hpack.Encoder
}

func (d *secureDoor) raw() *rawSession {
	d.t.Helper()
	conn, err := d.trySecure("", d.config("h2"))
	if err != nil {
		d.t.Fatal(err)
	}
	s := &rawSession{Framer: http2.NewFramer(conn, conn), t: d.t, conn: conn}
	s.hpack = hpack.NewEncoder(&s.head)
	conn.send(http2.ClientPreface)
	if err := s.WriteSettings(); err != nil {
		d.t.Fatal(err)
	}
	return s
}

// ask opens a stream; an error means that the connection is over.
func (s *rawSession) ask(id uint32, end bool, fields ...string) error {
	s.head.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = s.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.head.Bytes(), EndHeaders: true, EndStream: end})
}

// watch reads frames until the connection is over or seen says so.
func (s *rawSession) watch(seen func(http2.Frame) bool) error {
	for {
		frame, err := s.ReadFrame()
		if err != nil {
			return err
		}
		if seen(frame) {
			return nil
		}
	}
}

// A client that opens streams and resets them at once, again and again, costs
// no more than its share, and nothing is left of it.
func TestStreamRapidReset(t *testing.T) {
	const many = 20_000
	var looking, most atomic.Int64
	d := openSecure(t, func(_ *Config, deps *Dependencies) {
		deps.Resolve = func(ctx context.Context, _ string) (Resolution, error) {
			now := looking.Add(1)
			defer looking.Add(-1)
			for before := most.Load(); now > before && !most.CompareAndSwap(before, now); before = most.Load() {
			}
			<-ctx.Done() // a name that takes its time
			return Resolution{}, ctx.Err()
		}
	})
	where := origin(t, echoing)
	s := d.raw()
	var reading sync.WaitGroup
	reading.Go(func() { _ = s.watch(func(http2.Frame) bool { return false }) })
	for i := range uint32(many) {
		if s.ask(2*i+1, false, ":method", "CONNECT", ":authority", "slow.example:443") != nil ||
			s.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
			break // it has had enough
		}
	}
	c := d.session(nil).open(where.String())
	if got := c.echo("hello"); got != "hello" {
		t.Errorf("echo %q", got)
	}
	c.end()
	_ = s.conn.Close()
	reading.Wait()
	if got := most.Load(); got > maxStreams {
		t.Errorf("%d streams were served at a time", got)
	}
	eventually(t, "nothing is under way", func() bool { return looking.Load() == 0 && len(d.tunnels.all()) == 0 })
}

// One stream more than there may be is refused, and the others go on.
func TestStreamTooMany(t *testing.T) {
	d := openSecure(t, nil)
	where := origin(t, echoing)
	s := d.raw()
	for i := range uint32(maxStreams + 10) {
		if err := s.ask(2*i+1, false, ":method", "CONNECT", ":authority", where.String()); err != nil {
			t.Fatal(err)
		}
	}
	refused, open := 0, 0
	err := s.watch(func(frame http2.Frame) bool {
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame:
			refused++
		case *http2.HeadersFrame:
			if frame.StreamEnded() {
				t.Errorf("stream %d has ended", frame.StreamID)
			}
			open++
		}
		return refused+open == maxStreams+10
	})
	if err != nil || refused != 10 || open != maxStreams {
		t.Errorf("%d streams refused and %d open, %v", refused, open, err)
	}
	d.awaitMetric(maxStreams, "sallyport_proxy_tunnels")
	if err := s.WriteData(1, false, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := s.watch(func(frame http2.Frame) bool {
		data, ok := frame.(*http2.DataFrame)
		return ok && data.StreamID == 1 && string(data.Data()) == "hello"
	}); err != nil {
		t.Error(err)
	}
	_ = s.conn.Close()
	d.awaitMetric(0, "sallyport_proxy_tunnels")
}

// Streams whose clients have nothing to send from the beginning.
func TestStreamHalfClosedFromTheBeginning(t *testing.T) {
	d := openSecure(t, nil)
	where := origin(t, func(conn *net.TCPConn) {
		data, _ := io.ReadAll(conn)
		_, _ = conn.Write([]byte("nothing" + string(data)))
	})
	s := d.raw()
	const many = 50
	for i := range uint32(many) {
		if err := s.ask(2*i+1, true, ":method", "CONNECT", ":authority", where.String()); err != nil {
			t.Fatal(err)
		}
	}
	ended, text := 0, ""
	if err := s.watch(func(frame http2.Frame) bool {
		if data, ok := frame.(*http2.DataFrame); ok {
			text += string(data.Data())
			if data.StreamEnded() {
				ended++
			}
		}
		return ended == many
	}); err != nil || text != strings.Repeat("nothing", many) {
		t.Errorf("%d ended, %q, %v", ended, text, err)
	}
	d.await(many, many)
}

// Requests that RFC 9113 does not know, or that mean two things, reach nobody.
func TestStreamNonsense(t *testing.T) {
	d := openSecure(t, nil)
	server := plainOrigin(t, func(http.ResponseWriter, *http.Request) { t.Error("the origin was asked") })
	where := server.String()
	for name, test := range map[string]struct {
		fields []string
		status string // "": the stream is reset
	}{
		"CONNECT with a path":           {[]string{":method", "CONNECT", ":authority", where, ":scheme", "https", ":path", "/"}, ""},
		"CONNECT to nowhere":            {[]string{":method", "CONNECT"}, ""},
		"extended CONNECT":              {[]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", where, ":path", "/"}, ""},
		"CONNECT with content":          {[]string{":method", "CONNECT", ":authority", where, "content-length", "5"}, "400"},
		"no path":                       {[]string{":method", "GET", ":scheme", "http", ":authority", where}, ""},
		"another scheme":                {[]string{":method", "GET", ":scheme", "ftp", ":authority", where, ":path", "/"}, ""},
		"https":                         {[]string{":method", "GET", ":scheme", "https", ":authority", where, ":path", "/"}, "400"},
		"a URI for a path":              {[]string{":method", "GET", ":scheme", "http", ":authority", where, ":path", "http://" + where + "/"}, ""},
		"a path without a slash":        {[]string{":method", "GET", ":scheme", "http", ":authority", where, ":path", "x"}, ""},
		"an asterisk for a path":        {[]string{":method", "GET", ":scheme", "http", ":authority", where, ":path", "*"}, "400"},
		"a user in the authority":       {[]string{":method", "GET", ":scheme", "http", ":authority", "a@" + where, ":path", "/"}, ""},
		"another Host":                  {[]string{":method", "GET", ":scheme", "http", ":authority", where, ":path", "/", "host", "zoom.us"}, ""},
		"two Hosts":                     {[]string{":method", "GET", ":scheme", "http", ":authority", where, ":path", "/", "host", where, "host", where}, ""},
		"a Host that is none":           {[]string{":method", "GET", ":scheme", "http", ":authority", where, ":path", "/", "host", "a b"}, ""},
		"a field for one connection":    {[]string{":method", "GET", ":scheme", "http", ":authority", where, ":path", "/", "connection", "close"}, "400"},
		"chunks, which there are not":   {[]string{":method", "POST", ":scheme", "http", ":authority", where, ":path", "/", "transfer-encoding", "chunked"}, "400"},
		"Host alone, refused":           {[]string{":method", "GET", ":scheme", "http", ":path", "/", "host", "zoom.us"}, "403"},
		"a CONNECT's Host beside it":    {[]string{":method", "CONNECT", ":authority", "zoom.us:443", "host", where}, ""},
		"a line break in the authority": {[]string{":method", "GET", ":scheme", "http", ":authority", where + "\r\nHost: zoom.us", ":path", "/"}, ""},
	} {
		s := d.raw()
		s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		if err := s.ask(1, !strings.Contains(name, "content"), test.fields...); err != nil {
			t.Fatal(err)
		}
		status := "none"
		err := s.watch(func(frame http2.Frame) bool {
			switch frame := frame.(type) {
			case *http2.MetaHeadersFrame:
				status = frame.PseudoValue("status")
			case *http2.RSTStreamFrame:
				status = ""
			case *http2.GoAwayFrame:
				status = ""
			default:
				return false
			}
			return true
		})
		if err != nil || status != test.status {
			t.Errorf("%s: status %q, %v; want %q", name, status, err, test.status)
		}
		_ = s.conn.Close()
	}
	eventually(t, "nobody is inside", func() bool { return d.crowd.size() == 0 })
}

// A head that never ends is waited for no longer than for anything else.
func TestStreamEndlessHead(t *testing.T) {
	d := openSecure(t, func(c *Config, _ *Dependencies) { c.Timeouts.Idle = 500 * time.Millisecond })
	s := d.raw()
	s.head.Reset()
	_ = s.hpack.WriteField(hpack.HeaderField{Name: ":method", Value: "CONNECT"})
	if err := s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: s.head.Bytes()}); err != nil {
		t.Fatal(err)
	}
	if err := s.watch(func(http2.Frame) bool { return false }); err == nil {
		t.Error("it is waited for")
	} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Error(err)
	}
	eventually(t, "nobody is inside", func() bool { return d.crowd.size() == 0 })
}
