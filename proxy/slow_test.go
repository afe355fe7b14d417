package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// swallowing reads a whole body, and says how long it was.
func swallowing(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	_, _ = fmt.Fprint(w, n)
}

// dribble sends something every few milliseconds, until that fails.
func dribble(c *client, piece string) {
	for {
		if _, err := io.WriteString(c.TCPConn, piece); err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A body that is announced, or turns out, to be too large is not let through.
func TestLargeBodies(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.MaxBody = 10_000 })
	url := "http://" + plainOrigin(t, swallowing).String() + "/"
	for name, c := range map[string]struct {
		head, body string
		want       int
	}{
		"at the limit":            {"Content-Length: 10000", strings.Repeat("x", 10_000), http.StatusOK},
		"announced":               {"Content-Length: 10001", strings.Repeat("x", 10_001), http.StatusRequestEntityTooLarge},
		"in chunks":               {"Transfer-Encoding: chunked", "2711\r\n" + strings.Repeat("x", 10_001) + "\r\n0\r\n\r\n", http.StatusRequestEntityTooLarge},
		"in chunks, at the limit": {"Transfer-Encoding: chunked", "2710\r\n" + strings.Repeat("x", 10_000) + "\r\n0\r\n\r\n", http.StatusOK},
		"announced, waiting":      {"Expect: 100-continue\r\nContent-Length: 10001", "", http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			response, body, _ := d.say("POST " + url + " HTTP/1.1\r\nHost: x\r\n" + c.head + "\r\n\r\n" + c.body)
			if response.StatusCode != c.want {
				t.Errorf("%s %q", response.Status, body)
			}
		})
	}
}

// A body that dribbles in is not waited for: not while it keeps moving, and not
// when it stops. One that is fast enough may take its time.
func TestSlowBodies(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) {
		c.MinBodyRate, c.Timeouts.Body = 10_000, 200*time.Millisecond
	})
	url := "http://" + plainOrigin(t, swallowing).String() + "/"
	for name, c := range map[string]struct{ head, piece string }{
		"dribbling": {"Transfer-Encoding: chunked", "1\r\nx\r\n"},
		"announced": {"Content-Length: 1000000", "x"},
		"stopped":   {"Content-Length: 1000000", ""},
	} {
		t.Run(name, func(t *testing.T) {
			client := d.client()
			client.send("POST " + url + " HTTP/1.1\r\nHost: x\r\n" + c.head + "\r\n\r\n")
			if c.piece != "" {
				go dribble(client, c.piece)
			}
			if response, body := client.answer(http.MethodPost); response.StatusCode != http.StatusRequestTimeout || !strings.Contains(body, "too slowly") {
				t.Errorf("%s %q", response.Status, body)
			}
			eventually(t, "it is over", func() bool { return len(d.tunnels.all()) == 0 })
		})
	}
	t.Run("fast enough", func(t *testing.T) {
		client := d.client()
		const pieces, size = 30, 2_000
		client.send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", url, pieces*size))
		for range pieces {
			client.send(strings.Repeat("x", size))
			time.Sleep(10 * time.Millisecond) // twenty times as fast as it must be, and longer than the grace
		}
		if response, body := client.answer(http.MethodPost); response.StatusCode != http.StatusOK || body != fmt.Sprint(pieces*size) {
			t.Errorf("%s %q", response.Status, body)
		}
		client.send(getting(url)) // and no deadline is left behind
		if response, body := client.answer(http.MethodGet); response.StatusCode != http.StatusOK || body != "0" {
			t.Errorf("%s %q", response.Status, body)
		}
	})
}

// An origin that reads slowly is not the client's fault.
func TestSlowOrigin(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) {
		c.MinBodyRate, c.Timeouts.Body = 1<<20, 100*time.Millisecond
	})
	const size = 32 << 20 // more than all buffers on the way hold
	url := "http://" + plainOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(500 * time.Millisecond)
		swallowing(w, r)
	}).String() + "/"
	client := d.client()
	client.send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", url, size))
	go func() { _, _ = client.TCPConn.Write(make([]byte, size)) }()
	if response, body := client.answer(http.MethodPost); response.StatusCode != http.StatusOK || body != fmt.Sprint(size) {
		t.Errorf("%s %q", response.Status, body)
	}
}

// A tunnel that has never been of use ends sooner than one that has.
func TestSilentTunnels(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) { c.Timeouts.Silent = 1500 * time.Millisecond })
	where := origin(t, echoing).String()
	used := d.tunnel(where)
	if got := used.echo("x"); got != "x" {
		t.Fatal(got)
	}
	spoken := d.tunnel(origin(t, func(conn *net.TCPConn) { _, _ = io.WriteString(conn, "hello"); _, _ = io.Copy(io.Discard, conn) }).String()) // where the client has nothing to say
	if got := spoken.read(5); got != "hello" {
		t.Fatal(got)
	}
	silent := d.tunnel(where)
	socket := d.client()
	socket.send(upgrading("http://" + origin(t, upgraded(echoing)).String() + "/"))
	if response, err := http.ReadResponse(socket.reader, nil); err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response, err)
	}
	if rest := silent.rest() + socket.rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
	d.awaitMetric(2, "sallyport_proxy_tunnels_closed_total", closedByIdle)
	if got := used.echo("still here"); got != "still here" {
		t.Errorf("got %q", got)
	}
}
