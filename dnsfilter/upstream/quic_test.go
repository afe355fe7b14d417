package upstream

import (
	"bytes"
	"runtime"
	"testing"
)

// quicReaders is how many sockets of QUIC are being read, those of fakes too.
func quicReaders() int {
	stacks := make([]byte, 1<<20)
	for {
		n := runtime.Stack(stacks, true)
		if n < len(stacks) {
			return bytes.Count(stacks[:n], []byte("quic-go.(*Transport).listen("))
		}
		stacks = make([]byte, 2*len(stacks))
	}
}

// A connection's socket goes with it, however it ends; of a Pool that is closed
// nothing is left.
func TestQUICLeavesNothing(t *testing.T) {
	a := newAuthority(t)
	up := newQUIC(t, a, zone(t, goodAnswer), "dns.example")
	const without = 1 // the fake's
	eventually(t, "the fake is there", func() bool { return quicReaders() == without })
	readers := func(when string, want int) {
		t.Helper()
		if n := quicReaders() - without; n != want {
			t.Errorf("%s: %d sockets are being read, want %d", when, n, want)
		}
	}
	withCA := func(c *Config) { c.CA = a.file }

	o := open(t, withCA, "quic://"+up.addr+"#dns.example")
	o.mustAnswer()
	readers("with a connection", 1)
	up.cutAll()
	eventually(t, "its socket goes with a connection", func() bool { return quicReaders() == without })
	o.mustAnswer()
	readers("with another connection", 1)
	o.Close()
	readers("once closed", 0)

	o = open(t, withCA, "quic://"+up.addr+"#other.example")
	if _, err := o.ask("a.example"); err == nil {
		t.Fatal("a server is believed that does not prove its name")
	}
	readers("after a handshake that failed", 0)

	silent := closedPort(t)
	o = open(t, impatient(Timeout), "quic://"+silent)
	if _, err := o.ask("a.example"); err == nil {
		t.Fatal("an answer from nobody")
	}
	o.Close()
	readers("after a handshake that was given up", 0)
}
