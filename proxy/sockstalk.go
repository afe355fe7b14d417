package proxy

import (
	"errors"
	"time"
)

// socksTalk reads the messages of a client that speaks SOCKS, which may come in
// pieces or all at once. The buffer holds the longest of them.
type socksTalk struct {
	server *Server
	conn   *clientConn
	buffer []byte
	filled int
	begun  bool // something has come
}

// errSocksEnd is a connection that is over.
var errSocksEnd = errors.New("the connection has ended")

// hurry gives the client its time for what it has to say.
func (t *socksTalk) hurry() { _ = t.conn.SetDeadline(time.Now().Add(t.server.config.Timeouts.Header)) }

// next reads until parse has a whole message, or an error that is not
// errSocksMore. What parse is given must not be kept.
func (t *socksTalk) next(parse func([]byte) (n int, err error)) error {
	for {
		n, err := parse(t.buffer[:t.filled])
		if !errors.Is(err, errSocksMore) {
			t.filled = copy(t.buffer, t.buffer[n:t.filled])
			return err
		}
		if err := t.read(); err != nil {
			return err
		}
	}
}

// read reads once. A stop does not wait for a client that has said nothing.
func (t *socksTalk) read() error {
	if !t.begun && !t.server.crowd.rest(t.conn) {
		return errSocksEnd
	}
	n, err := t.conn.Conn.Read(t.buffer[t.filled:])
	if !t.begun {
		t.begun = true
		t.server.crowd.wake(t.conn)
	}
	t.filled += n
	if n > 0 || err == nil {
		return nil
	}
	return errors.Join(errSocksEnd, err)
}

// say writes two bytes, as every message before the reply has.
func (t *socksTalk) say(version, word byte) bool {
	_, err := t.conn.Write([]byte{version, word})
	return err == nil
}

// rest is what came behind the last message.
func (t *socksTalk) rest() []byte { return append([]byte(nil), t.buffer[:t.filled]...) }
