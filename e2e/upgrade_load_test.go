//go:build linux

package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"golang.org/x/net/dns/dnsmessage"
)

// crowdLoad is clients of every kind, each of which begins anew without a pause.
type crowdLoad struct {
	quit    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	counts  map[string]*atomic.Int64
	slowest map[string]time.Duration
	failed  []string
}

func startCrowd() *crowdLoad {
	return &crowdLoad{quit: make(chan struct{}), counts: map[string]*atomic.Int64{}, slowest: map[string]time.Duration{}}
}

// keep has something done again and again.
func (c *crowdLoad) keep(name string, once func() error) {
	count := &atomic.Int64{}
	c.mu.Lock()
	c.counts[name] = count
	c.mu.Unlock()
	c.running.Go(func() {
		for {
			select {
			case <-c.quit:
				return
			default:
			}
			began := time.Now()
			err := once()
			c.mu.Lock()
			c.slowest[name] = max(c.slowest[name], time.Since(began))
			c.mu.Unlock()
			if err != nil {
				c.mu.Lock()
				c.failed = append(c.failed, fmt.Sprintf("%s, after %d that went well: %v", name, count.Load(), err))
				c.mu.Unlock()
				time.Sleep(10 * time.Millisecond)
				continue
			}
			count.Add(1)
			time.Sleep(time.Millisecond) // others are to have their turn
		}
	})
}

// wait returns when every kind has succeeded so often more.
func (c *crowdLoad) wait(t *testing.T, more int64) {
	t.Helper()
	c.mu.Lock()
	before := map[string]int64{}
	for name, count := range c.counts {
		before[name] = count.Load()
	}
	c.mu.Unlock()
	eventually(t, "every client gets on", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.failed) > 10 {
			t.Fatal(strings.Join(c.failed, "\n"))
		}
		for name, count := range c.counts {
			if n := count.Load() - before[name]; n < more {
				return fmt.Errorf("%s has succeeded %d times", name, n)
			}
		}
		return nil
	})
}

// stop ends the load; nothing may have failed.
func (c *crowdLoad) stop(t *testing.T) {
	t.Helper()
	close(c.quit)
	c.running.Wait()
	for _, failure := range c.failed {
		t.Error(failure)
	}
	var report []string
	for name, count := range c.counts {
		report = append(report, fmt.Sprintf("%s %d (slowest %v)", name, count.Load(), c.slowest[name].Round(time.Millisecond)))
	}
	slices.Sort(report)
	t.Logf("without a failure: %s", strings.Join(report, ", "))
}

func (c *crowdLoad) count(name string) int64 { return c.counts[name].Load() }

// onceUDP asks from a port of its own, so that each socket of the door gets its
// share.
func onceUDP(server string) func() error {
	return func() error { return refusedBy(server) }
}

func refusedBy(server string) error {
	address, err := addressOf(server, "us04web.zoom.us.")
	if err == nil && address != [4]byte{} {
		err = fmt.Errorf("answered with %v", address)
	}
	return err
}

// onceKept asks on one socket.
func onceKept(t *testing.T, server string) func() error {
	t.Helper()
	conn, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var id uint16
	return func() error {
		id++
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		_, err := askOn(conn, id, "us04web.zoom.us.", dnsmessage.TypeA)
		return err
	}
}

// onceStream asks on a connection of its own.
func onceStream(dial func() (net.Conn, error)) func() error {
	return func() error {
		conn, err := dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		_, err = askStream(conn, 7, "us04web.zoom.us.")
		return err
	}
}

// onceTunnel opens a tunnel, and has something echoed in it.
func onceTunnel(proxy, target string) func() error {
	return func() error {
		conn, reader, err := connectVia(proxy, target)
		if err != nil {
			return err
		}
		defer conn.Close()
		return echoIn(conn, reader, "hello")
	}
}

func connectVia(proxy, target string) (net.Conn, *bufio.Reader, error) {
	conn, err := net.DialTimeout("tcp", proxy, patience)
	if err != nil {
		return nil, nil, err
	}
	reader, err := connectOn(conn, target)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, reader, nil
}

// connectOn asks for a tunnel on a connection.
func connectOn(conn net.Conn, target string) (*bufio.Reader, error) {
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("CONNECT: %w", err)
	}
	return reader, nil
}

func echoIn(conn net.Conn, reader io.Reader, text string) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(reader, got); err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("echoed %q as %q", text, got)
	}
	return nil
}

// onceGet fetches a page, through a proxy or not, on a connection of its own or
// on one that is kept.
func onceGet(t *testing.T, page, proxy string, kept bool) func() error {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: !kept}
	if proxy != "" {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
	}
	t.Cleanup(transport.CloseIdleConnections)
	return getWith(&http.Client{Transport: transport, Timeout: patience}, page)
}

func getWith(client *http.Client, page string) func() error {
	return func() error {
		response, err := client.Get(page)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	}
}

// onceQUIC asks on a connection by QUIC of its own. It may try twice: whoever
// has a connection when the processes change loses it.
func onceQUIC(server string, config *tls.Config) func() error {
	once := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := quic.DialAddr(ctx, server, config, nil)
		if err != nil {
			return err
		}
		defer conn.CloseWithError(0, "")
		return askOnQUIC(ctx, conn)
	}
	return func() error {
		if once() == nil {
			return nil
		}
		return once()
	}
}

func askOnQUIC(ctx context.Context, conn *quic.Conn) error {
	packed, err := new(dns.Msg).SetQuestion("us04web.zoom.us.", dns.TypeA).Pack()
	if err != nil {
		return err
	}
	packed[0], packed[1] = 0, 0 // RFC 9250 §4.2.1
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	if _, err := stream.Write(append([]byte{0, byte(len(packed))}, packed...)); err != nil {
		return err
	}
	_ = stream.Close()
	_ = stream.SetReadDeadline(time.Now().Add(patience))
	reply, err := io.ReadAll(stream)
	if err == nil && len(reply) < 14 {
		err = fmt.Errorf("%d bytes", len(reply))
	}
	return err
}

// echoServer gives back what it is sent.
func echoServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}

// pageServer serves one page.
func pageServer(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a page\n") }))
	t.Cleanup(server.Close)
	return server.URL
}
