package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
)

// maxInformational bounds what an origin may say before its answer.
const maxInformational = 16

// informer passes on what an origin says before its answer (RFC 9110 §15.2),
// such as which files a page will need (103, RFC 8297). It is not there for
// 100, which net/http says itself once the body is asked for, and that is once
// the origin has said it.
type informer struct {
	mu   sync.Mutex
	w    http.ResponseWriter
	said int
	over bool // the answer has come, or will never
}

// informs makes the informer of a request whose client can be told anything:
// HTTP/1.0 knows of no such answers, and to a client that waits for 100 net/http
// may be writing just then. Else it is nil.
func (f *webFront) informs() *informer {
	if !f.r.ProtoAtLeast(1, 1) || f.r.Header.Get("Expect") != "" {
		return nil
	}
	return &informer{w: f.w}
}

// pass sends one such answer on.
func (i *informer) pass(status int, header textproto.MIMEHeader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.over || status == http.StatusContinue {
		return nil
	}
	if i.said++; i.said > maxInformational {
		return errors.New("the origin does not come to its answer")
	}
	fields := http.Header(header).Clone()
	removeHopByHop(fields)
	ours := i.w.Header()
	for name, values := range fields {
		ours[name] = values
	}
	i.w.WriteHeader(status)
	clear(ours)
	return nil
}

// stop is called before the client is answered.
func (i *informer) stop() {
	if i == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = true
}

// traced has the account note the connection, and the client be told what the
// origin says before its answer.
func (p *passage) traced(ctx context.Context) context.Context {
	trace := httptrace.ClientTrace{}
	if p.account != nil {
		trace.GotConn = p.account.connected
	}
	if p.informer = p.web.informs(); p.informer != nil {
		trace.Got1xxResponse = p.informer.pass
	}
	return httptrace.WithClientTrace(ctx, &trace)
}
