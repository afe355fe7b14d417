package proxy

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// behindBalancers lists this machine as a load balancer, and serves the clients
// that it comes for.
func behindBalancers(c *Config, _ *Dependencies) {
	c.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	c.Clients = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
}

const (
	introduction4 = "PROXY TCP4 192.0.2.7 192.0.2.53 40000 3128\r\n"
	introduction6 = "PROXY TCP6 2001:db8::7 2001:db8::53 40000 3128\r\n"
	introduction2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x9c\x40\x0c\x38" // 192.0.2.7, in version 2
	inOwnName     = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

func TestProxyProtocol(t *testing.T) {
	d := open(t, behindBalancers)
	where := origin(t, echoing)
	tests := []struct {
		name, header, client string
		status               int
	}{
		{"version 1", introduction4, "192.0.2.7", http.StatusOK},
		{"version 1, IPv6", introduction6, "2001:db8::7", http.StatusOK},
		{"version 2", introduction2, "192.0.2.7", http.StatusOK},
		{"a client that is not served", "PROXY TCP4 198.51.100.1 192.0.2.53 40000 3128\r\n", "", http.StatusForbidden},
		{"the balancer itself, which is not served", inOwnName, "", http.StatusForbidden},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before, _ := d.recorded()
			c := d.client()
			c.send(test.header + connectTo(where.String()) + "early")
			response, body := c.answer(http.MethodConnect)
			if response.StatusCode != test.status {
				t.Fatalf("%s: %s", response.Status, body)
			}
			if test.client == "" {
				return
			}
			if got := c.read(len("early")); got != "early" {
				t.Errorf("echo %q", got)
			}
			decisions, _ := d.recorded()
			if len(decisions) != len(before)+1 || decisions[len(before)].Client != netip.MustParseAddr(test.client) {
				t.Errorf("decisions %+v, want one for %s", decisions[len(before):], test.client)
			}
		})
	}
}

// A plain request's client is the named one, too, and the header is read only
// once for the connection.
func TestProxyProtocolOfPlainRequests(t *testing.T) {
	d := open(t, behindBalancers)
	server := plainOrigin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	c := d.client()
	c.send(introduction4)
	for range 2 {
		c.send(getting("http://" + server.String() + "/"))
		if response, body := c.answer(http.MethodGet); response.StatusCode != http.StatusOK || body != "hello" {
			t.Errorf("%s: %s", response.Status, body)
		}
	}
	decisions, _ := d.await(2, 0)
	for _, decision := range decisions {
		if decision.Client != netip.MustParseAddr("192.0.2.7") {
			t.Errorf("decision %+v", decision)
		}
	}
}

// A load balancer that does not say for whom it comes is closed, and counted.
func TestProxyProtocolMissing(t *testing.T) {
	d := open(t, func(c *Config, deps *Dependencies) {
		behindBalancers(c, deps)
		c.Timeouts.Header = 200 * time.Millisecond
	})
	for i, test := range []struct{ name, sent string }{
		{"none", connectTo("192.0.2.80:443")},
		{"a plain request", getting("http://192.0.2.80/")},
		{"broken", "PROXY TCP4 192.0.2.7\r\n" + connectTo("192.0.2.80:443")},
		{"unknown", "PROXY UNKNOWN\r\n" + connectTo("192.0.2.80:443")},
		{"half of one", introduction4[:20]},
		{"nothing at all", ""},
	} {
		c := d.client()
		c.send(test.sent)
		if data, _ := io.ReadAll(c); len(data) > 0 {
			t.Errorf("%s: got %q", test.name, data)
		}
		d.awaitMetric(float64(i+1), "sallyport_proxy_shed_total", shedProxyHeader)
	}
	if decisions, _ := d.recorded(); len(decisions) > 0 {
		t.Errorf("decisions %+v", decisions)
	}
	eventually(t, "nobody is inside", func() bool { return d.crowd.size() == 0 })
}

// Whoever is no load balancer says nothing of others: a header is no request.
func TestProxyProtocolFromAnybody(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) {
		c.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	for _, header := range []string{introduction4, introduction2} {
		c := d.client()
		c.send(header + connectTo("192.0.2.80:443"))
		data, _ := io.ReadAll(c)
		if !strings.HasPrefix(string(data), "HTTP/1.1 400 ") || strings.Contains(string(data), "HTTP/1.1 2") {
			t.Errorf("got %q", data)
		}
	}
	if decisions, _ := d.recorded(); len(decisions) > 0 {
		t.Errorf("decisions %+v", decisions)
	}
}

// A load balancer is not one client: those behind it are limited, each on its
// own, and it is not.
func TestProxyProtocolLimits(t *testing.T) {
	d := open(t, func(c *Config, deps *Dependencies) {
		behindBalancers(c, deps)
		c.MaxConnsPerClient = 2
	})
	greet := func(header string) *client {
		c := d.client()
		c.send(header)
		return c
	}
	for range 5 {
		greet("") // five that have not said for whom they come: more than a client has
	}
	eventually(t, "all are inside", func() bool { return d.crowd.size() == 5 })
	first := greet(introduction4)
	greet(introduction4)
	greet(introduction6)
	seven := netip.MustParseAddr("192.0.2.7")
	inside := func(addr netip.Addr) int {
		d.crowd.mu.Lock()
		defer d.crowd.mu.Unlock()
		return d.crowd.clients[clientKey(addr)]
	}
	eventually(t, "two connections are counted for the client", func() bool { return inside(seven) == 2 })
	eventually(t, "five are the balancer's", func() bool { return inside(netip.MustParseAddr("127.0.0.1")) == 5 })
	greet(introduction4).turnedAway()
	d.awaitMetric(1, "sallyport_proxy_shed_total", shedClient)
	_ = first.Close()
	eventually(t, "one has left", func() bool { return inside(seven) == 1 })
	greet(introduction2)
	eventually(t, "another one came", func() bool { return inside(seven) == 2 })
}

// A stop does not wait for a header.
func TestProxyProtocolStop(t *testing.T) {
	d := open(t, behindBalancers)
	silent, half := d.client(), d.client()
	half.send(introduction4[:20])
	eventually(t, "both are inside", func() bool { return d.crowd.size() == 2 })
	eventually(t, "both are waited for", func() bool {
		d.crowd.mu.Lock()
		defer d.crowd.mu.Unlock()
		return len(d.crowd.silent) == 2
	})
	if err := d.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for _, c := range []*client{silent, half} {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("it is still open")
		} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Error(err)
		}
	}
}
