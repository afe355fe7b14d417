package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

func TestHTTPSOnTheWire(t *testing.T) {
	a := newAuthority(t)
	var mu sync.Mutex
	var requests []*http.Request
	up := newHTTPS(t, a, zone(t, goodAnswer), func(w http.ResponseWriter, r *http.Request, packet []byte) {
		mu.Lock()
		defer mu.Unlock()
		requests = append(requests, r)
		w.Header().Set("Content-Type", "application/dns-message")
		w.Header().Set("Age", "250")
		w.Write(packet)
	})
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	o := open(t, func(c *Config) { c.CA = a.file }, "https://"+up.addr+"/some/path?key=value{?dns}")
	got, err := o.ask("a.example")
	if err != nil || !slices.Equal(got, []string{"a.example. 350 IN A 192.0.2.1"}) {
		t.Errorf("answer %q, %v: want a TTL less the age", got, err)
	}
	r := requests[0]
	if r.ProtoMajor != 2 || r.Method != http.MethodPost || r.URL.RequestURI() != "/some/path?key=value" {
		t.Errorf("%s %s over %s", r.Method, r.URL, r.Proto)
	}
	for name, want := range map[string]string{"Content-Type": messageType, "Accept": messageType, "User-Agent": "", "Accept-Encoding": "", "Cookie": ""} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestAgeEndsAtZero(t *testing.T) {
	for text, want := range map[string]uint32{"": 100, "0": 100, "40": 60, "100": 0, "101": 0, "-5": 100, "x": 100, "99999999999": 100} {
		r, err := dns.NewRR("a.example. 100 IN A 192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		age(&dns.Msg{Answer: []dns.RR{r}}, text)
		if got := r.Header().Ttl; got != want {
			t.Errorf("age %q: TTL %d, want %d", text, got, want)
		}
	}
}

func TestFailuresOfHTTPS(t *testing.T) {
	a := newAuthority(t)
	elsewhere := newHTTPS(t, a, zone(t, goodAnswer), nil)
	message := func(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/dns-message") }
	tests := []struct {
		name   string
		handle func(http.ResponseWriter, *http.Request, []byte)
		kind   Kind
		text   string
	}{
		{"status", func(w http.ResponseWriter, _ *http.Request, packet []byte) {
			message(w)
			w.WriteHeader(http.StatusServiceUnavailable)
			w.Write(packet)
		}, Refused, "status 503"},
		{"redirect", func(w http.ResponseWriter, r *http.Request, _ []byte) {
			http.Redirect(w, r, "https://"+elsewhere.addr+"/dns-query", http.StatusTemporaryRedirect)
		}, Refused, "status 307"},
		{"a page", func(w http.ResponseWriter, _ *http.Request, packet []byte) {
			w.Header().Set("Content-Type", "text/html")
			w.Write(packet)
		}, Garbled, "no DNS message"},
		{"too much", func(w http.ResponseWriter, _ *http.Request, packet []byte) {
			message(w)
			w.Write(append(packet, make([]byte, maxMessageBytes)...))
		}, Garbled, "more than a DNS message"},
		{"endless", func(w http.ResponseWriter, r *http.Request, packet []byte) {
			message(w)
			for r.Context().Err() == nil {
				if _, err := w.Write(packet); err != nil {
					return
				}
			}
		}, Garbled, "more than a DNS message"},
		{"cut", func(w http.ResponseWriter, _ *http.Request, packet []byte) {
			message(w)
			w.Write(packet[:20])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, Garbled, "cut its answer off"},
		{"nothing", func(w http.ResponseWriter, _ *http.Request, _ []byte) { message(w) }, Garbled, "another question"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			up := newHTTPS(t, a, zone(t, goodAnswer), tt.handle)
			o := open(t, func(c *Config) { c.CA = a.file }, "https://"+up.addr)
			_, err := o.ask("a.example")
			var failure *Error
			if !errors.As(err, &failure) || failure.Kind != tt.kind || !strings.Contains(failure.Text, tt.text) {
				t.Errorf("error %#v, want kind %v and %q", err, tt.kind, tt.text)
			}
		})
	}
	if elsewhere.total() != 0 {
		t.Error("a redirect was followed")
	}
}

// A large answer comes whole over every stream.
func TestLargeAnswer(t *testing.T) {
	text := strings.Repeat("x", 250)
	var records []string
	for range 200 {
		records = append(records, `a.example. 60 IN TXT "`+text+`"`)
	}
	for server, up := range transports(t, zone(t, records...)) {
		o := open(t, withCA(up), server)
		answer, err := o.Ask(context.Background(), question(t, "a.example", dns.TypeTXT))
		if err != nil || len(answer.Msg.Answer) != len(records) {
			t.Errorf("%s: %v, %v", server, answer, err)
		}
		o.mustBeAlive()
	}
}

func (o *opened) mustBeAlive() {
	o.t.Helper()
	if _, err := o.Ask(context.Background(), question(o.t, "none.example", dns.TypeA)); err != nil {
		o.t.Error(err)
	}
}

// Close ends what is under way on every transport, and leaves nothing behind.
func TestCloseUnderLoad(t *testing.T) {
	for server, up := range transports(t, silent) {
		t.Run(server[:5], func(t *testing.T) {
			o := open(t, withCA(up), server)
			var running sync.WaitGroup
			for range 10 {
				running.Go(func() {
					if _, err := o.ask("a.example"); !errors.Is(err, ErrClosed) {
						t.Errorf("error %v", err)
					}
				})
			}
			eventually(t, "queries under way", func() bool { return up.total() >= 10 })
			o.Close()
			running.Wait()
			o.Close()
			if len(o.seen.counts) != 0 || o.resolvers[0].health.sick.Load() {
				t.Errorf("observed %v: the end of the Pool is held against the resolver", o.seen.counts)
			}
		})
	}
}

func TestAnswersKeepTheirBits(t *testing.T) {
	up := newPlain(t, func(q *dns.Msg, _ string) reply {
		m := new(dns.Msg).SetReply(q)
		m.AuthenticatedData = true
		for _, s := range []string{"a.example. 60 IN A 192.0.2.1", "a.example. 60 IN RRSIG A 8 2 60 20300101000000 20200101000000 1 example. AAAA"} {
			r, err := dns.NewRR(s)
			if err != nil {
				t.Error(err)
			}
			m.Answer = append(m.Answer, r)
		}
		return one(pack(t, m))
	})
	o := open(t, nil, up.addr)
	answer, err := o.Ask(context.Background(), Query{Name: "\x01a\x07example\x00", Type: dns.TypeA, DO: true})
	if err != nil || !answer.Msg.AuthenticatedData || !answer.Trusted || len(answer.Msg.Answer) != 2 {
		t.Errorf("answer %+v, %v", answer, err)
	}
}

func TestReadMessage(t *testing.T) {
	long := bytes.Repeat([]byte{7}, 500)
	stream := bytes.NewReader(slices.Concat(frame(long), frame(long[:12]), frame(long[:11])))
	got, err := readMessage(stream, nil)
	if err != nil || !bytes.Equal(got, long) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	again, err := readMessage(stream, got)
	if err != nil || len(again) != 12 || &again[0] != &got[0] {
		t.Errorf("%d bytes, %v: memory is not used again", len(again), err)
	}
	if _, err := readMessage(stream, again); asError(err).Kind != Garbled {
		t.Errorf("less than a header: %v", err)
	}
	if _, err := readMessage(strings.NewReader("\x00"), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a length: %v", err)
	}
}
