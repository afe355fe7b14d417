package proxy

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
)

// accounts keeps what a proxy reports to its access logs.
type accounts struct {
	mu   sync.Mutex
	list []Access
}

func (a *accounts) take(access *Access) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, *access)
}

func (a *accounts) await(t *testing.T, n int) []Access {
	t.Helper()
	eventually(t, "the exchanges are reported", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.list) >= n
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.list) != n {
		t.Fatalf("%d exchanges, want %d: %+v", len(a.list), n, a.list)
	}
	return a.list
}

func TestAccounts(t *testing.T) {
	where := origin(t, echoing)
	dead, _ := net.Listen("tcp", "127.0.0.1:0")
	gone := dead.Addr().String()
	_ = dead.Close()
	plain := origin(t, func(conn *net.TCPConn) {
		buffer := make([]byte, 1<<10)
		for {
			if _, err := conn.Read(buffer); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
		}
	})
	const text = "text/plain; charset=utf-8"
	here := netip.MustParseAddr("127.0.0.1")
	for _, test := range []struct {
		name string
		do   func(*door)
		want Access
	}{
		{"refused", func(d *door) { d.say(connectTo("zoom.us:443")) },
			Access{Outcome: OutcomeRefused, Status: 403, Method: "CONNECT", URL: "zoom.us:443", Major: 1, Minor: 1, ContentType: text}},
		{"refused, plain", func(d *door) { d.say("GET http://zoom.us/x?y HTTP/1.1\r\nHost: zoom.us\r\nReferer: http://a/\r\n\r\n") },
			Access{Outcome: OutcomeRefused, Status: 403, Method: "GET", URL: "http://zoom.us/x?y", Major: 1, Minor: 1, Referer: "http://a/", ContentType: text}},
		{"unread", func(d *door) { d.say("CONNECT nothing HTTP/1.1\r\n\r\n") },
			Access{Outcome: OutcomeUnread, Status: 400, Method: "CONNECT", URL: "nothing", Major: 1, Minor: 1, ContentType: text}},
		{"unread by net/http", func(d *door) { d.say("GARBAGE\r\n\r\n") },
			Access{Outcome: OutcomeUnread, Status: 400, ContentType: "text/plain"}},
		{"as it came", func(d *door) { d.say("GET /a%2fb'|?c HTTP/1.1\r\nHost: a\r\n\r\n") },
			Access{Outcome: OutcomeUnread, Status: 400, Method: "GET", URL: "/a%2fb'|?c", Major: 1, Minor: 1, ContentType: text}},
		{"failed", func(d *door) { d.say(connectTo(gone)) },
			Access{Outcome: OutcomeFailed, Status: 502, Method: "CONNECT", URL: gone, Major: 1, Minor: 1, Server: here, ContentType: text}},
		{"failed, plain", func(d *door) { d.say("GET http://" + gone + "/ HTTP/1.0\r\n\r\n") },
			Access{Outcome: OutcomeFailed, Status: 502, Method: "GET", URL: "http://" + gone + "/", Major: 1, Server: here,
				ContentType: text}},
		{"tunnel", func(d *door) {
			c := d.tunnel(where.String())
			c.echo("12345")
			_ = c.Close()
		}, Access{Outcome: OutcomeTunnelled, Status: 200, Method: "CONNECT", URL: where.String(), Major: 1, Minor: 1, Server: here,
			Sent: int64(len(establishedText)) + 5, SentBody: 5}},
		{"forwarded", func(d *door) {
			d.say("GET http://" + plain.String() + " HTTP/1.1\r\nHost: " + plain.String() + "\r\nUser-Agent: x/1\r\n\r\n")
		},
			Access{Outcome: OutcomeForwarded, Status: 200, Method: "GET", URL: "http://" + plain.String() + "/", Major: 1, Minor: 1, Server: here,
				UserAgent: "x/1", ContentType: "text/plain", SentBody: 5}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var kept accounts
			d := open(t, func(_ *Config, d *Dependencies) { d.Access = kept.take })
			test.do(d)
			got := kept.await(t, 1)[0]
			if got.Client != here || got.End.IsZero() || got.Duration < 0 || got.Sent <= got.SentBody {
				t.Errorf("%+v", got)
			}
			got.Client, got.End, got.Duration = netip.Addr{}, test.want.End, 0
			if test.want.Sent == 0 {
				got.Sent = 0
			}
			if test.want.SentBody == 0 {
				got.SentBody = 0
			}
			if got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

// A connection that is used again is told of, too.
func TestAccountsOfKeptConnections(t *testing.T) {
	var kept accounts
	d := open(t, func(_ *Config, d *Dependencies) { d.Access = kept.take })
	where := plainOrigin(t, func(http.ResponseWriter, *http.Request) {})
	for range 2 {
		d.say("GET http://" + where.String() + "/ HTTP/1.1\r\nHost: " + where.String() + "\r\n\r\n")
	}
	for _, got := range kept.await(t, 2) {
		if got.Server != where.Addr() || got.Status != http.StatusOK {
			t.Errorf("%+v", got)
		}
	}
}

// A client that leaves has been sent nothing, whatever was written to it.
func TestAccountsOfThoseWhoLeave(t *testing.T) {
	for _, test := range []struct{ name, sends string }{
		{"in the head of a CONNECT", "CONNECT a.example:44"},
		{"before the answer", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var kept accounts
			d := open(t, func(_ *Config, d *Dependencies) { d.Access = kept.take })
			asked := make(chan struct{}, 1)
			where := plainOrigin(t, func(_ http.ResponseWriter, r *http.Request) {
				asked <- struct{}{}
				<-r.Context().Done()
			})
			c := d.client()
			if test.sends != "" {
				c.send(test.sends)
			} else {
				c.send("GET http://" + where.String() + "/ HTTP/1.1\r\nHost: " + where.String() + "\r\n\r\n")
				<-asked
			}
			_ = c.Close()
			got := kept.await(t, 1)[0]
			if !got.ClientLeft || got.Status != 0 || got.Sent != 0 || got.SentBody != 0 || got.ContentType != "" {
				t.Errorf("%+v", got)
			}
		})
	}
}
