package relay

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
)

// FuzzInterleaving lets both peers write pieces, close and rest in any order,
// over sockets with little room or a lot, with or without pipes: what arrives is
// what was sent, up to where the sender stopped.
func FuzzInterleaving(f *testing.F) {
	f.Add([]byte{}, false, false)
	f.Add([]byte{0x01, 0x41, 0x80, 0x02, 0x42, 0xc0, 0x03}, false, false)
	f.Add([]byte{0x3f, 0x7f, 0x3f, 0x7f, 0x80, 0x3f, 0x7f}, true, false)
	f.Add([]byte{0x3f, 0x3f, 0x3f, 0x80, 0x3f, 0xc0, 0x7f, 0x7f}, false, true)
	f.Add([]byte{0x3e, 0xc0, 0x7e, 0x80, 0x01, 0xc1, 0x41, 0x7f}, true, true)
	f.Fuzz(func(t *testing.T, program []byte, copies, narrow bool) {
		if len(program) > 40 {
			return
		}
		config := Config{}
		if copies {
			config.Pipes = -1
		}
		r := relayWith(t, config)
		u := open(t, r, nil, "")
		if narrow {
			for _, c := range []*net.TCPConn{u.inClient, u.inServer} {
				_ = c.SetWriteBuffer(4 << 10)
			}
		}
		var sent, got [2][]byte
		together(
			func() { sent = u.play(program) },
			func() { got[0], _ = io.ReadAll(u.server) },
			func() { got[1], _ = io.ReadAll(u.client) },
		)
		for i := range sent {
			if !bytes.Equal(sent[i], got[i]) {
				t.Errorf("side %d sent %d bytes, %d arrived", i, len(sent[i]), len(got[i]))
			}
		}
		if how := u.handler.how(t); how.Cause != CauseClosed {
			t.Errorf("ended %v", how)
		}
		if up, down := u.handler.up.Load(), u.handler.down.Load(); up != int64(len(sent[0])) || down != int64(len(sent[1])) {
			t.Errorf("counted %d up and %d down, of %d and %d", up, down, len(sent[0]), len(sent[1]))
		}
	})
}

// play acts out a program, one byte a step: a size, and who writes it; or else
// a rest, or the end of one side. At last both sides end.
func (u *tunnel) play(program []byte) (sent [2][]byte) {
	ends := [2]*net.TCPConn{u.client, u.server}
	var closed [2]bool
	for _, step := range program {
		size, side := int(step&0x3f), int(step>>6&1)
		switch {
		case step < 0x80 && !closed[side]:
			piece := noise(1 + size*size*size/3) // up to 83 KB
			if n, err := ends[side].Write(piece); err != nil {
				u.t.Errorf("write: %v after %d bytes", err, n)
			}
			sent[side] = append(sent[side], piece...)
		case step >= 0x80 && step < 0xc0 && runtime.GOOS == "linux":
			u.atRest()
		case step >= 0xc0:
			closed[step&1] = true
			_ = ends[step&1].CloseWrite()
			if closed[0] && closed[1] {
				return sent
			}
		}
	}
	_, _ = ends[0].CloseWrite(), ends[1].CloseWrite()
	return sent
}
