package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// What may be wrong with a body.
var (
	errLargeBody = errors.New("the content is too large")
	errSlowBody  = errors.New("the content came too slowly")
)

func largeBody() failure {
	return failure{http.StatusRequestEntityTooLarge, "http_request_error", "the request's content is larger than this proxy lets through"}
}

func slowBody() failure {
	return failure{http.StatusRequestTimeout, "http_request_error", "the request's content came too slowly"}
}

// readClock bounds when a client's body must have come. Once it has been halted
// nothing is waited for any more.
type readClock struct {
	control *http.ResponseController

	mu     sync.Mutex
	halted bool
}

func (c *readClock) set(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.halted {
		_ = c.control.SetReadDeadline(deadline) // a connection that is gone says so when it is read
	}
}

func (c *readClock) halt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halted = true
	_ = c.control.SetReadDeadline(time.Unix(1, 0))
}

// stop sets the last deadline: by then net/http, too, must have read what it
// wants to throw away.
func (c *readClock) stop(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.halted {
		c.halted = true
		_ = c.control.SetReadDeadline(deadline)
	}
}

// clientBody is the body of a plain request. It may be so large and no larger,
// and must come at some rate once it has had time to begin. Only the time that
// is spent waiting for the client counts: an origin that reads slowly, and a
// limit of bandwidth, are not the client's doing.
type clientBody struct {
	io.ReadCloser
	passage *passage
	most    int64         // bytes; 0: no limit
	rate    int64         // bytes a second, at least; 0: however slow
	grace   time.Duration // before the rate counts
	got     int64
	waited  time.Duration
}

// Read reads as the body does.
func (b *clientBody) Read(data []byte) (int, error) {
	began := time.Now()
	if b.rate > 0 {
		earned := time.Duration(float64(b.got) / float64(b.rate) * float64(time.Second))
		b.passage.reading.set(began.Add(b.grace + earned - b.waited))
	}
	n, err := b.ReadCloser.Read(data)
	if b.rate > 0 {
		b.passage.reading.set(time.Time{}) // what follows is no longer the body
		b.waited += time.Since(began)
	}
	b.got += int64(n)
	switch {
	case b.most > 0 && b.got > b.most:
		fault := largeBody()
		b.passage.fault.Store(&fault)
		b.passage.reading.stop(time.Now().Add(lingerTime))
		return 0, errLargeBody
	case b.rate > 0 && errors.Is(err, os.ErrDeadlineExceeded):
		fault := slowBody()
		b.passage.fault.Store(&fault)
		b.passage.reading.halt()
		return 0, errSlowBody
	}
	return n, err
}

// bounded is the client's body within the limits.
func (p *passage) bounded(body io.ReadCloser) io.ReadCloser {
	c := &p.server.config
	if c.MaxBody == 0 && c.MinBodyRate == 0 {
		return body
	}
	return &clientBody{ReadCloser: body, passage: p, most: c.MaxBody, rate: int64(c.MinBodyRate), grace: c.Timeouts.Body}
}

// fits answers a request whose body is announced to be too large.
func (x *exchange) fits(r *http.Request) bool {
	if most := x.server.config.MaxBody; most == 0 || r.ContentLength <= most {
		return true
	}
	large := largeBody()
	x.record()
	x.deny(answer{status: large.status, text: large.text(x), proxyStatus: large.proxyStatus})
	return false
}
