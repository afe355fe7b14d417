package ingress

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"
)

// web3Client is a client that speaks nothing but HTTP/3.
func (s *setServer) web3Client(t testing.TB) *http.Client {
	transport := &http3.Transport{TLSClientConfig: s.tls()}
	t.Cleanup(func() { _ = transport.Close() })
	return &http.Client{Transport: transport}
}

func withHTTP3(c *Config, d *Dependencies) {
	onlyHTTPS(c, d)
	c.HTTP3 = true
}

func TestHTTP3(t *testing.T) {
	s := openSet(t, withHTTP3)
	if n := len(s.Addrs()); n != 1 {
		t.Errorf("%d addresses: %v", n, s.Addrs())
	}
	// HTTP/2 says where it is.
	response, _ := s.get(t, s.webClient(true, nil), packQuestion(t, 0, "now.example"))
	_, port, _ := net.SplitHostPort(s.address(t, "dns https"))
	if got, want := response.Header.Get("Alt-Svc"), fmt.Sprintf(`h3=":%s"; ma=86400`, port); got != want {
		t.Errorf("Alt-Svc %q, want %q", got, want)
	}

	client := s.web3Client(t)
	for _, name := range []string{"now.example", "later.example"} {
		response, err := client.Get(s.url(t, packQuestion(t, 0, name)))
		if err != nil {
			t.Fatal(err)
		}
		if reply := body(t, response); response.ProtoMajor != 3 || response.StatusCode != 200 || len(reply) < 12 {
			t.Errorf("%s: %s, %s, %x", name, response.Proto, response.Status, reply)
		}
		if response.Header.Get("Alt-Svc") != "" {
			t.Error("HTTP/3 says where HTTP/3 is")
		}
	}
	if q := s.door.last(t); q.Transport != HTTPS || !q.Client.Addr().IsLoopback() {
		t.Errorf("the door saw %s by %s", q.Client, q.Transport)
	}
	for _, bad := range []struct {
		method, path string
		want         int
	}{{"GET", "/", 404}, {"GET", "/dns-query", 400}, {"PUT", "/dns-query", 405}, {"POST", "/dns-query", 415}} {
		r, err := http.NewRequest(bad.method, "https://"+s.address(t, "dns https")+bad.path, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body(t, response)
		if response.StatusCode != bad.want {
			t.Errorf("%s %s: %s", bad.method, bad.path, response.Status)
		}
	}
	if n := s.Conns(HTTPS); n < 1 {
		t.Errorf("%d connections", n)
	}
}

func TestHTTP3StopAnswersWhatIsUnderWay(t *testing.T) {
	s := openSet(t, withHTTP3)
	client := s.web3Client(t)
	status := make(chan int, 1)
	go func() {
		response, err := client.Get(s.url(t, packQuestion(t, 0, "held.example")))
		if err != nil {
			status <- 0
			return
		}
		response.Body.Close()
		status <- response.StatusCode
	}()
	eventually(t, "it is held", func() bool { return s.door.held.Load() == 1 })
	s.Stop()
	close(s.door.hold)
	if got := <-status; got != 200 {
		t.Errorf("status %d", got)
	}
	<-s.done
}

func TestHTTP3Strangers(t *testing.T) {
	s := openSet(t, func(c *Config, d *Dependencies) {
		withHTTP3(c, d)
		d.Known = nobodyFrom("127.")
	})
	response, err := s.web3Client(t).Get(s.url(t, packQuestion(t, 0, "later.example")))
	if err != nil {
		t.Fatal(err)
	}
	if len(body(t, response)) == 0 {
		t.Error("a stranger is not told")
	}
	eventually(t, "the connection is closed", func() bool { return s.Conns(HTTPS) == 0 })
	// By HTTP/2 they are told too, but not of HTTP/3.
	response, _ = s.get(t, s.webClient(true, nil), packQuestion(t, 0, "now.example"))
	if response.Header.Get("Alt-Svc") != "" {
		t.Error("a stranger is told of HTTP/3")
	}
}

func TestHTTP3Close(t *testing.T) {
	s := openSet(t, withHTTP3)
	client := s.web3Client(t)
	failed := make(chan error, 1)
	go func() {
		response, err := client.Get(s.url(t, packQuestion(t, 0, "held.example")))
		if err == nil {
			response.Body.Close()
		}
		failed <- err
	}()
	eventually(t, "it is held", func() bool { return s.door.held.Load() == 1 })
	s.Close()
	<-s.done
	if err := <-failed; err == nil {
		t.Error("an answer came")
	}
}

func transportOf3(c *http.Client) *http3.Transport { return c.Transport.(*http3.Transport) }
