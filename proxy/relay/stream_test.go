package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"testing/iotest"
	"time"
)

func TestStreamsCarryEverything(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			r := relayWith(t, Config{})
			for _, size := range []int{0, 1, sipBytes - 1, sipBytes, sipBytes + 1, sipBytes + blockBytes, 1 << 20} {
				openKind(t, r, newListener(), "early ", kind).exchange(noise(size), "early ")
			}
		})
	}
}

func TestStreamsEnd(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			r := relayWith(t, Config{})
			u := openKind(t, r, newListener(), "", kind)
			send(t, u.client, "ping")
			expect(t, u.server, "ping")
			u.flow.End()
			if how := u.handler.how(t); how.Cause != CauseEnded {
				t.Errorf("ended %v", how)
			}
			if got := rest(t, u.client) + rest(t, u.server); got != "" {
				t.Errorf("got %q", got)
			}

			u = openKind(t, r, newListener(), "", kind)
			_ = u.client.SetLinger(0)
			_ = u.client.Close()
			if how := u.handler.how(t); how != (Outcome{CauseBroken, Client}) {
				t.Errorf("ended %v", how)
			}
		})
	}
}

// certificate is a certificate for nobody.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// The client may speak TLS to us, as it does to a proxy with a certificate.
func TestTLSClient(t *testing.T) {
	r := relayWith(t, Config{})
	outer, inner := pair(t)
	upstream, server := pair(t)
	client := tls.Client(outer, &tls.Config{InsecureSkipVerify: true})
	h, s := scripted(map[string]Greeting{
		" arrived":      {Within: time.Millisecond},
		"hello arrived": {Then: Carry, Forward: []byte("hello")},
	})
	ends := Ends{Client: tls.Server(inner, &tls.Config{Certificates: []tls.Certificate{certificate(t)}}), Upstream: upstream}
	if _, err := r.Start(ends, nil, h); err != nil {
		t.Fatal(err)
	}
	s.hears(t, " arrived")
	s.hears(t, " late")
	send(t, server, "220") // before the client has done more than shake hands
	expect(t, client, "220")
	send(t, client, "hello")
	s.hears(t, "hello arrived")
	expect(t, server, "hello")
	data := noise(1 << 20)
	together(
		func() { _, _ = client.Write(data); _ = client.CloseWrite() },
		func() {
			got, err := io.ReadAll(server)
			if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
				t.Errorf("%d bytes up: %v", len(got), err)
			}
			_, _ = server.Write(data)
			_ = server.CloseWrite()
		},
		func() {
			got, err := io.ReadAll(client) // ends by an alert, or else this fails
			if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
				t.Errorf("%d bytes down: %v", len(got), err)
			}
		},
	)
	if how := h.how(t); how != (Outcome{CauseClosed, Client}) {
		t.Errorf("ended %v", how)
	}
}

// The flow of a stream that cannot be half-closed ends with the other end.
func TestStreamWithoutHalfClose(t *testing.T) {
	r := relayWith(t, Config{})
	client, inner := net.Pipe()
	upstream, server := pair(t)
	h := newListener()
	if _, err := r.Start(Ends{Client: inner, Upstream: upstream}, nil, h); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = server.Write([]byte("answer")); _ = server.CloseWrite() }()
	if got := rest(t, client); got != "answer" {
		t.Errorf("got %q", got)
	}
	if how := h.how(t); how != (Outcome{CauseClosed, Upstream}) {
		t.Errorf("ended %v", how)
	}
}

// odd is a stream that reads as the test says.
type odd struct {
	io.Reader
	net.Conn
}

func (o odd) Read(p []byte) (int, error) { return o.Reader.Read(p) }

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

// Streams may return bytes together with an error, or nothing at all, for a
// while.
func TestOddStreams(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		source io.Reader
		want   string
		how    Outcome
	}{
		"bytes and end":   {iotest.DataErrReader(io.LimitReader(neverEnding('x'), 5000)), string(make5000()), Outcome{CauseClosed, Client}},
		"one byte a time": {iotest.OneByteReader(io.LimitReader(neverEnding('x'), 5000)), string(make5000()), Outcome{CauseClosed, Client}},
		"breaks":          {iotest.ErrReader(broken), "", Outcome{CauseBroken, Client}},
		"says nothing":    {nothing{}, "", Outcome{CauseBroken, Client}},
	} {
		t.Run(name, func(t *testing.T) {
			r := relayWith(t, Config{})
			_, inner := net.Pipe()
			upstream, server := pair(t)
			h := newListener()
			if _, err := r.Start(Ends{Client: odd{test.source, inner}, Upstream: upstream}, nil, h); err != nil {
				t.Fatal(err)
			}
			if got := rest(t, server); got != test.want {
				t.Errorf("%d bytes arrived, want %d", len(got), len(test.want))
			}
			_ = server.Close()
			if how := h.how(t); how != test.how {
				t.Errorf("ended %v", how)
			}
		})
	}
}

type neverEnding byte

func (b neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

func make5000() []byte {
	b := make([]byte, 5000)
	_, _ = neverEnding('x').Read(b)
	return b
}
