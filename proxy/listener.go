package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// listener accepts client connections, up to a number of them that all the
// server's listeners share.
type listener struct {
	*net.TCPListener
	crowd     *crowd
	headLimit int // of a request, in bytes
	closing   sync.Once
}

// listen binds address. MPTCP is left alone: it keeps the kernel from moving
// bytes between two sockets without copying them.
func listen(ctx context.Context, address string, c *crowd, headLimit int) (*listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	bound, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("proxy: listen on %q: %w", address, err)
	}
	tcp, ok := bound.(*net.TCPListener)
	if !ok {
		_ = bound.Close()
		return nil, fmt.Errorf("proxy: listen on %q: not a TCP address", address)
	}
	return &listener{TCPListener: tcp, crowd: c, headLimit: headLimit}, nil
}

// Close stops accepting. It may be called again, and is: by Shutdown, which
// wants every listener shut before it waits for anything, and by net/http.
func (l *listener) Close() (err error) {
	l.closing.Do(func() { err = l.TCPListener.Close() })
	return err
}

// Accept waits for a client. A client that is one too many is closed at once,
// so that accepting never stalls and those who are inside are not disturbed.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		client, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
		addr := client.Addr().Unmap().WithZone("")
		if !l.crowd.admit(addr) {
			_ = conn.Close()
			continue
		}
		return &clientConn{
			TCPConn: conn,
			addr:    addr,
			heads:   heads{limit: l.headLimit},
		}, nil
	}
}

// clientConn is a client's connection. It embeds the TCP connection, so that
// the kernel's shortcuts stay open. It keeps the heads of the requests that
// have been read and not been served.
type clientConn struct {
	*net.TCPConn
	addr  netip.Addr
	heads heads
}

// Read reads as TCPConn does.
func (c *clientConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 {
		c.heads.take(p[:n])
	}
	return n, err
}

// sentEarly reports whether the client has sent something behind the request
// that is being served. What is still on its way cannot be known.
func (c *clientConn) sentEarly() bool { return c.heads.more() || waiting(c.TCPConn) > 0 }
