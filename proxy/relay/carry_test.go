package relay

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
)

// noise is n bytes that do not repeat.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestCarriesEverything(t *testing.T) {
	for name, config := range map[string]Config{
		"splice": {},
		"copy":   {Pipes: -1},
	} {
		t.Run(name, func(t *testing.T) {
			r := relayWith(t, config)
			for _, size := range []int{0, 1, blockBytes - 1, blockBytes, blockBytes + 1, 3*blockBytes + 7, 8 << 20} {
				u := open(t, r, nil, "early ")
				u.exchange(noise(size), "early ")
			}
		})
	}
}

// Multipath TCP, which listeners of package net speak unless told otherwise,
// cannot be spliced by every kernel.
func TestCarriesMultipath(t *testing.T) {
	r := relayWith(t, Config{})
	u := &tunnel{t: t, handler: newListener()}
	u.client, u.inClient = pairOver(t, true)
	u.inServer, u.server = pairOver(t, true)
	if multipath, err := u.inClient.MultipathTCP(); err != nil || !multipath {
		t.Skip("there is no Multipath TCP here")
	}
	if _, err := r.Start(Ends{Client: u.inClient, Upstream: u.inServer}, nil, u.handler); err != nil {
		t.Fatal(err)
	}
	u.exchange(noise(4<<20), "")
}

// exchange sends data both ways at once, to the end, and checks what arrives.
func (u *tunnel) exchange(data []byte, early string) {
	u.t.Helper()
	var up, down []byte
	together(
		func() { _, _ = u.client.Write(data); _ = u.client.CloseWrite() },
		func() { _, _ = u.server.Write(data); _ = u.server.CloseWrite() },
		func() { up, _ = io.ReadAll(u.server) },
		func() { down, _ = io.ReadAll(u.client) },
	)
	if !bytes.Equal(up, append([]byte(early), data...)) {
		u.t.Errorf("%d bytes up: %d arrived", len(data), len(up))
	}
	if sha256.Sum256(down) != sha256.Sum256(data) {
		u.t.Errorf("%d bytes down: %d arrived", len(data), len(down))
	}
	if how := u.handler.how(u.t); how.Cause != CauseClosed {
		u.t.Errorf("ended %v", how)
	}
	if up, down := u.handler.up.Load(), u.handler.down.Load(); up != int64(len(data)+len(early)) || down != int64(len(data)) {
		u.t.Errorf("%d bytes: counted %d up and %d down", len(data), up, down)
	}
}

// The server may speak first, and at length, while the client says nothing.
func TestServerSpeaksFirst(t *testing.T) {
	r := relayWith(t, Config{})
	silent := newListener()
	silent.greet = func(piece []byte, _ Occasion) Greeting {
		if len(piece) == 0 {
			return Greeting{}
		}
		return Greeting{Then: Carry, Forward: bytes.Clone(piece)}
	}
	u := open(t, r, silent, "")
	send(t, u.server, "220 mail.example ESMTP\r\n")
	expect(t, u.client, "220 mail.example ESMTP\r\n")
	send(t, u.client, "EHLO client.example\r\n")
	expect(t, u.server, "EHLO client.example\r\n")
}

// A side that has nothing more to send hears the other out.
func TestHalfClose(t *testing.T) {
	for _, first := range []Side{Client, Upstream} {
		for _, sleeping := range []bool{false, true} {
			r := relayWith(t, Config{})
			u := open(t, r, nil, "")
			one, two := u.client, u.server
			if first == Upstream {
				one, two = two, one
			}
			if sleeping {
				u.restIfThere()
			}
			send(t, one, "the end")
			_ = one.CloseWrite()
			if got := rest(t, two); got != "the end" {
				t.Errorf("%v first: got %q", first, got)
			}
			if sleeping {
				u.restIfThere()
			}
			answer := string(noise(1 << 20))
			together(
				func() { send(t, two, answer); _ = two.CloseWrite() },
				func() {
					if got := rest(t, one); got != answer {
						t.Errorf("%v first: %d bytes back", first, len(got))
					}
				},
			)
			if how := u.handler.how(t); how != (Outcome{CauseClosed, first}) {
				t.Errorf("%v first: ended %v", first, how)
			}
		}
	}
}

// A reset ends the flow, whoever it comes from, and the other side is told.
func TestReset(t *testing.T) {
	for _, by := range []Side{Client, Upstream} {
		for _, sleeping := range []bool{false, true} {
			r := relayWith(t, Config{})
			u := open(t, r, nil, "")
			send(t, u.client, "hello")
			expect(t, u.server, "hello")
			if sleeping {
				u.restIfThere()
			}
			one, two := u.client, u.server
			if by == Upstream {
				one, two = two, one
			}
			_ = one.SetLinger(0)
			_ = one.Close()
			if how := u.handler.how(t); how != (Outcome{CauseBroken, by}) {
				t.Errorf("reset by %v: ended %v", by, how)
			}
			if got := rest(t, two); got != "" {
				t.Errorf("got %q", got)
			}
		}
	}
}

// What a server said before it hung up on a client that is still sending
// reaches the client.
func TestDestinationThatLeaves(t *testing.T) {
	r := relayWith(t, Config{})
	u := open(t, r, nil, "")
	send(t, u.server, "enough")
	_ = u.server.Close()
	var sent atomic.Int64
	together(
		func() {
			for {
				n, err := u.client.Write(make([]byte, blockBytes))
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
		},
		func() {
			expect(t, u.client, "enough")
			u.handler.how(t)
			_ = u.client.Close()
		},
	)
}

// A reader that takes its time gets everything, and holds nobody else up.
func TestSlowReader(t *testing.T) {
	for name, config := range map[string]Config{
		"splice": {},
		"copy":   {Pipes: -1},
	} {
		t.Run(name, func(t *testing.T) {
			r := relayWith(t, config)
			u := open(t, r, nil, "")
			_ = u.inServer.SetWriteBuffer(16 << 10)
			_ = u.server.SetReadBuffer(16 << 10)
			data := noise(2 << 20)
			sum := sha256.New()
			together(
				func() { _, _ = u.client.Write(data); _ = u.client.CloseWrite() },
				func() {
					u.restIfThere() // the server reads nothing yet
					piece := make([]byte, 50_000)
					for {
						n, err := u.server.Read(piece)
						sum.Write(piece[:n])
						if err != nil {
							break
						}
						if rand.IntN(20) == 0 {
							u.restIfThere()
						}
					}
					send(t, u.server, "thanks")
				},
				func() { expect(t, u.client, "thanks") },
			)
			if want := sha256.Sum256(data); !bytes.Equal(sum.Sum(nil), want[:]) {
				t.Error("the bytes were changed")
			}
		})
	}
}
