package relay

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// noise is n bytes that repeat nowhere near.
func noise(n int) []byte {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(b)
	return b
}

func TestCarriesEverything(t *testing.T) {
	r := relayWith(t, Config{})
	for _, size := range []int{0, 1, blockBytes - 1, blockBytes, blockBytes + 1, 3*blockBytes + 7, 8 << 20} {
		u := open(t, r, nil, "early ")
		data := noise(size)
		var up, down []byte
		together(
			func() { _, _ = u.client.Write(data); _ = u.client.CloseWrite() },
			func() { _, _ = u.server.Write(data); _ = u.server.CloseWrite() },
			func() { up, _ = io.ReadAll(u.server) },
			func() { down, _ = io.ReadAll(u.client) },
		)
		if !bytes.Equal(up, append([]byte("early "), data...)) {
			t.Errorf("%d bytes up: %d arrived", size, len(up))
		}
		if sha256.Sum256(down) != sha256.Sum256(data) {
			t.Errorf("%d bytes down: %d arrived", size, len(down))
		}
		if how := u.handler.how(t); how.Cause != CauseClosed {
			t.Errorf("ended %v", how)
		}
		if up, down := u.handler.up.Load(), u.handler.down.Load(); up != int64(size)+6 || down != int64(size) {
			t.Errorf("%d bytes: counted %d up and %d down", size, up, down)
		}
	}
}

func TestParksAndWakes(t *testing.T) {
	r := relayWith(t, Config{Quiet: 4 * time.Millisecond})
	u := open(t, r, nil, "")
	for range 20 {
		u.atRest()
		send(t, u.client, "ping")
		expect(t, u.server, "ping")
		u.atRest()
		send(t, u.server, "pong")
		expect(t, u.client, "pong")
	}
	u.atRest()
	_ = u.client.CloseWrite()
	if got := rest(t, u.server); got != "" {
		t.Errorf("got %q", got)
	}
	u.atRest()
	send(t, u.server, "last words")
	_ = u.server.CloseWrite()
	if got := rest(t, u.client); got != "last words" {
		t.Errorf("got %q", got)
	}
	if how := u.handler.how(t); how != (Outcome{CauseClosed, Client}) {
		t.Errorf("ended %v", how)
	}
}
