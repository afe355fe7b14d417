package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// inGroup lets through, as a member of a group.
func inGroup(name string) deciderFunc {
	return func(*policy.Request) policy.Verdict {
		v := allowed()
		v.Group = name
		return v
	}
}

// pouring sends without an end.
func pouring(conn *net.TCPConn) {
	piece := make([]byte, 64<<10)
	for {
		if _, err := conn.Write(piece); err != nil {
			return
		}
	}
}

// gulp reads all that comes, and counts it.
func gulp(from io.Reader, into *atomic.Int64) {
	piece := make([]byte, 64<<10)
	for {
		n, err := from.Read(piece)
		into.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// inBurst is what may move at once, at a rate.
func inBurst(rate int64) int64 { return rate/20 + 4*64<<10 }

// A client with many tunnels gets no more of its group's bandwidth than one with
// one, and both together no more than there is.
func TestBandwidthIsShared(t *testing.T) {
	const rate, enough = 4 << 20, 4 << 20
	d := open(t, func(c *Config, _ *Dependencies) { c.Bandwidth = map[string]int64{"staff": rate} })
	d.decide(inGroup("staff"))
	where := origin(t, pouring).String()
	var greedy, modest atomic.Int64
	var reading sync.WaitGroup
	began := time.Now()
	var clients []*client
	pour := func(c *client, into *atomic.Int64) {
		c.send(connectTo(where))
		if response, _ := c.answer(http.MethodConnect); response.StatusCode != http.StatusOK {
			t.Fatal(response.Status)
		}
		clients = append(clients, c)
		reading.Go(func() { gulp(c, into) })
	}
	pour(d.clientFrom("127.0.0.2"), &modest)
	for range 8 {
		pour(d.client(), &greedy)
	}
	alone := modest.Load()
	greedyBefore := greedy.Load()
	eventually(t, "a lot has moved", func() bool { return modest.Load()+greedy.Load() > enough+alone+greedyBefore })
	took := time.Since(began)
	one, many := modest.Load()-alone, greedy.Load()-greedyBefore
	for _, c := range clients {
		_ = c.Close()
	}
	reading.Wait()
	if share := float64(one) / float64(one+many); share < 0.4 || share > 0.6 {
		t.Errorf("one tunnel moved %d, eight moved %d", one, many)
	}
	if most := int64(took.Seconds()*rate) + inBurst(rate); one+many > most {
		t.Errorf("%d moved in %v, want at most %d", one+many, took, most)
	}
	eventually(t, "all have left", func() bool { return len(d.tunnels.all()) == 0 })
}

// Every way of moving bytes is held back, in both directions.
func TestBandwidthOfEveryKind(t *testing.T) {
	const rate, size = 1 << 20, 1<<20 + 512<<10
	d := open(t, func(c *Config, _ *Dependencies) { c.Bandwidth = map[string]int64{policy.NoGroup: rate} })
	d.decide(inGroup(""))
	body := strings.Repeat("x", size)
	web := "http://" + plainOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, body)
			return
		}
		_, _ = fmt.Fprint(w, len(got))
	}).String()
	socket := origin(t, upgraded(echoing)).String()
	where := origin(t, echoing).String()
	for name, move := range map[string]func(c *client) string{
		"download": func(c *client) string {
			c.send(getting(web + "/"))
			_, text := c.answer(http.MethodGet)
			return text
		},
		"upload": func(c *client) string {
			c.send(fmt.Sprintf("POST %s/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", web, size, body))
			if _, text := c.answer(http.MethodPost); text != fmt.Sprint(size) {
				return text
			}
			return body
		},
		"tunnel": func(c *client) string {
			c.send(connectTo(where))
			c.answer(http.MethodConnect)
			go func() { _, _ = io.WriteString(c.TCPConn, body) }()
			return c.read(size)
		},
		"websocket": func(c *client) string {
			c.send(upgrading("http://" + socket + "/"))
			if response, err := http.ReadResponse(c.reader, nil); err != nil || response.StatusCode != http.StatusSwitchingProtocols {
				return "no WebSocket"
			}
			go func() { _, _ = io.WriteString(c.TCPConn, body) }()
			return c.read(size)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := d.client()
			began := time.Now()
			text := move(c)
			if text != body {
				t.Fatalf("%d bytes came", len(text))
			}
			if took, least := time.Since(began), time.Duration(float64(size-inBurst(rate))/rate*float64(time.Second)); took < least {
				t.Errorf("took %v, less than %v", took, least)
			}
			_ = c.Close()
		})
	}
}

// A new policy can put a tunnel into another group.
func TestBandwidthFollowsThePolicy(t *testing.T) {
	const rate = 256 << 10
	d := open(t, func(c *Config, _ *Dependencies) { c.Bandwidth = map[string]int64{"guests": rate} })
	d.decide(inGroup("guests"))
	c := d.tunnel(origin(t, pouring).String())
	var moved atomic.Int64
	var reading sync.WaitGroup
	began := time.Now()
	reading.Go(func() { gulp(c, &moved) })
	eventually(t, "some has moved", func() bool { return moved.Load() > rate/2 })
	if got, most := moved.Load(), int64(time.Since(began).Seconds()*rate)+inBurst(rate); got > most {
		t.Errorf("%d moved, want at most %d", got, most)
	}
	d.decide(inGroup("staff"))
	d.Recheck()
	eventually(t, "the limit is lifted", func() bool { return moved.Load() > 200*rate })
	d.decide(inGroup("guests"))
	d.Recheck()
	began, before := time.Now(), moved.Load()+32<<20 // what is on its way in buffers
	eventually(t, "held back again", func() bool {
		return time.Since(began) > time.Second
	})
	if got, most := moved.Load()-before, int64(time.Since(began).Seconds()*rate)+inBurst(rate); got > most {
		t.Errorf("%d moved, want at most %d", got, most)
	}
	_ = c.Close()
	reading.Wait()
}

// A tunnel that waits for bandwidth ends when it is to end.
func TestHeldBackTunnelEnds(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.Bandwidth = map[string]int64{"guests": 1} })
	d.decide(inGroup("guests"))
	where := origin(t, pouring).String()
	web := "http://" + plainOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		for piece := make([]byte, 32<<10); ; {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}).String()
	d.tunnel(where)
	plain := d.client()
	plain.send(getting(web + "/"))
	eventually(t, "both are open", func() bool { return len(d.tunnels.all()) == 2 })
	d.decide(func(r *policy.Request) policy.Verdict { return refused(r.Host) })
	if got := d.Recheck(); got.Closed != 2 {
		t.Errorf("%+v", got)
	}
	eventually(t, "both are over", func() bool { return len(d.tunnels.all()) == 0 })
}

func TestBandwidthMustBePositive(t *testing.T) {
	if _, err := newBandwidth(map[string]int64{"staff": 0}); err == nil || !strings.Contains(err.Error(), `"staff"`) {
		t.Errorf("got %v", err)
	}
	b, err := newBandwidth(nil)
	if err != nil || b.join(netip.MustParseAddr("192.0.2.1"), &policy.Verdict{Group: "staff"}) != nil {
		t.Errorf("a limit where there is none; %v", err)
	}
}
