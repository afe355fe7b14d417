package proxy

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/sallyport/sallyport/policy"
)

const upgradeHead = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\r\n"

func upgrading(url string) string {
	return "GET " + url + " HTTP/1.1\r\nHost: example.com\r\n" + upgradeHead
}

// upgraded is an origin that switches to another protocol and then does what
// serve says.
func upgraded(serve func(*net.TCPConn)) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		r, err := http.ReadRequest(newReader(conn))
		if err != nil || !switchesToWebSocket(r.Header) || r.Header.Get("Sec-WebSocket-Key") == "" {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		serve(conn)
	}
}

func TestWebSocketWithARealPeer(t *testing.T) {
	where := plainOrigin(t, websocket.Handler(func(ws *websocket.Conn) { _, _ = io.Copy(ws, ws) }).ServeHTTP)
	d := open(t, nil)
	c := d.client()
	c.send(upgrading("http://" + where.String() + "/"))
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols || !switchesToWebSocket(response.Header) {
		t.Fatalf("%v %v", response, err)
	}
	frame := "\x81\x82\x00\x00\x00\x00hi" // masked with zeros
	c.send(frame)
	if got := c.read(4); got != "\x81\x02hi" {
		t.Errorf("got %q", got)
	}
	d.awaitMetric(1, "sallyport_proxy_tunnels")
	_ = c.Close()
	decisions, ends := d.await(1, 1)
	if decisions[0].Transport != "websocket" || ends[0].Decision != decisions[0] || ends[0].ClosedBy != closedByClient ||
		ends[0].BytesUp != int64(len(frame)) || ends[0].BytesDown < 4 {
		t.Errorf("%+v %+v", decisions[0], ends[0])
	}
	d.awaitMetric(0, "sallyport_proxy_tunnels")
}

// When the origin closes, so does the client's side, and everything that the
// origin had said arrives.
func TestWebSocketClosesBothEnds(t *testing.T) {
	where := origin(t, upgraded(func(conn *net.TCPConn) { _, _ = io.WriteString(conn, "last words") }))
	d := open(t, nil)
	response, _, c := d.say(upgrading("http://" + where.String() + "/"))
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response.Status)
	}
	if got := c.rest(); got != "last words" {
		t.Errorf("got %q", got)
	}
	if _, ends := d.await(1, 1); ends[0].ClosedBy != closedByUpstream || ends[0].BytesDown != 10 {
		t.Errorf("end %+v", ends[0])
	}
}

// A frame in the same packet as the request belongs to the WebSocket.
func TestWebSocketEarlyFrame(t *testing.T) {
	where := origin(t, upgraded(echoing))
	d := open(t, nil)
	c := d.client()
	c.send(upgrading("http://"+where.String()+"/") + "early")
	if response, err := http.ReadResponse(c.reader, nil); err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", response, err)
	}
	// x/net and others read the head through a buffer as well: whether the
	// origin kept those bytes is its own business, ours is to send them.
	c.send(" bird")
	got := c.read(5)
	if got == "early" {
		got += c.read(5)
	}
	if got != "early bird" && got != " bird" {
		t.Errorf("got %q", got)
	}
	_ = c.Close()
	if _, ends := d.await(1, 1); ends[0].BytesUp != 10 {
		t.Errorf("end %+v", ends[0])
	}
}

func TestWebSocketIsRechecked(t *testing.T) {
	where := origin(t, upgraded(echoing))
	d := open(t, nil)
	_, _, c := d.say(upgrading("http://" + where.String() + "/"))
	if got := c.echo("hello"); got != "hello" {
		t.Fatalf("got %q", got)
	}
	d.decide(func(r *policy.Request) policy.Verdict { return refused(r.Host) })
	if result := d.Recheck(); result != (RecheckResult{Checked: 1, Closed: 1}) {
		t.Errorf("%+v", result)
	}
	if rest := c.rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
	if _, ends := d.await(1, 1); ends[0].ClosedBy != closedByPolicy || ends[0].Rule != "zoom-memo" {
		t.Errorf("end %+v", ends[0])
	}
}

func TestWebSocketRefusedByPolicyOrOrigin(t *testing.T) {
	d := open(t, nil)
	if response, _, _ := d.say(upgrading("http://zoom.us/")); response.StatusCode != http.StatusForbidden {
		t.Error(response.Status)
	}
	where := plainOrigin(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no sockets here", http.StatusNotFound) })
	response, body, c := d.say(upgrading("http://" + where.String() + "/"))
	if response.StatusCode != http.StatusNotFound || body != "no sockets here\n" {
		t.Errorf("%s %q", response.Status, body)
	}
	c.send(getting("http://" + where.String() + "/")) // still an ordinary connection
	if response, _ := c.answer(http.MethodGet); response.StatusCode != http.StatusNotFound {
		t.Error(response.Status)
	}
	d.await(3, 0)
	if n := d.metric("sallyport_proxy_tunnels_closed_total"); n != 0 {
		t.Errorf("%v tunnels counted", n)
	}
	eventually(t, "nothing is registered", func() bool { return len(d.tunnels.all()) == 0 })
}

func TestWebSocketIdle(t *testing.T) {
	where := origin(t, upgraded(echoing))
	d := open(t, func(c *Config, _ *Dependencies) { c.Timeouts.Idle = 100 * time.Millisecond })
	_, _, c := d.say(upgrading("http://" + where.String() + "/"))
	if rest := c.rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
	if _, ends := d.await(1, 1); ends[0].ClosedBy != closedByIdle {
		t.Errorf("end %+v", ends[0])
	}
}
