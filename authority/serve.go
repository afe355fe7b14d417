package authority

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// patience is how long a client may take.
type patience struct {
	handshake time.Duration
	request   time.Duration // for the next one to arrive, and for its answer to leave
	whole     time.Duration // for all of it, the handshake included
	linger    time.Duration // to close its side, after that
}

func defaultPatience() patience {
	return patience{handshake: 5 * time.Second, request: 10 * time.Second, whole: 30 * time.Second, linger: time.Second}
}

// lingerBytes bounds what is read from a client that has been answered.
const lingerBytes = 256 << 10

// Serve shows page, over TLS, to the client of a connection that wants name.
// The policy must have refused name already: what the client sends is
// decrypted here. hello is everything that was read from conn; it is not
// changed, and not needed any more once Serve returns.
//
// False means that there is no certificate for name: nothing was sent to conn
// or read from it, and the caller still owns it. After true it is closed. That
// takes 31 s at most, and less where ctx ends: then it is closed at once.
//
// page is called in this goroutine, for one request after the other. Its
// requests have a context that ends with ctx, at most 64 KiB of body, and
// neither cookies nor credentials: they are meant for somebody else.
func (a *Authority) Serve(ctx context.Context, conn net.Conn, hello []byte, name string, page http.Handler) bool {
	leaf, err := a.Leaf(name)
	if err != nil {
		a.metrics.count(resultNoLeaf)
		a.log.Debug("no page over TLS", zap.Error(err))
		return false
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	v := &visitor{Conn: conn, hello: hello, leaf: leaf}
	a.metrics.count(a.receive(ctx, v, page))
	v.seeOff(a.patience.linger)
	return true
}

// receive does the handshake and shows the page.
func (a *Authority) receive(ctx context.Context, v *visitor, page http.Handler) result {
	end := time.Now().Add(a.patience.whole)
	if v.SetDeadline(time.Now().Add(a.patience.handshake)) != nil {
		return resultFailed // the client has gone, or could stay for ever
	}
	secured := tls.Server(v, a.config)
	if err := secured.Handshake(); err != nil {
		r := v.judge(err)
		a.log.Debug("no handshake for a page over TLS", zap.String("result", string(r)), zap.Error(err))
		return r
	}
	t := &talk{secured: secured, page: page, patience: a.patience, end: end, log: a.log}
	r := t.run(ctx)
	_ = v.SetWriteDeadline(earlier(time.Now().Add(a.patience.linger), end.Add(a.patience.linger)))
	_ = secured.CloseWrite() // a courtesy: the client may be gone
	return r
}

// seeOff lets what was written arrive: closed with something unread, the
// connection would be reset, and a reset overtakes what is on its way.
func (v *visitor) seeOff(linger time.Duration) {
	half, ok := v.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || v.SetReadDeadline(time.Now().Add(linger)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, v.Conn, lingerBytes)
}
