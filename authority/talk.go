package authority

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"go.uber.org/zap"
)

// Bounds of what a client may ask.
const (
	maxRequests = 16
	maxHead     = 64 << 10 // cookies of the site that it wants are in it
	maxBody     = 64 << 10
)

// talk is the HTTP/1 conversation with one client (RFC 9112). It is a small
// server of its own because a page needs no more, and because it runs in the
// goroutine that its connection has already.
type talk struct {
	secured  *tls.Conn
	page     http.Handler
	patience patience
	end      time.Time
	log      *zap.Logger

	input  *io.LimitedReader
	reader *bufio.Reader
}

// run answers requests until one side has had enough.
func (t *talk) run(ctx context.Context) result {
	t.input = &io.LimitedReader{R: t.secured}
	t.reader = bufio.NewReaderSize(t.input, 4<<10)
	r := resultUnused
	for n := 1; n <= maxRequests; n++ {
		if t.secured.SetDeadline(earlier(time.Now().Add(t.patience.request), t.end)) != nil {
			return worse(r, resultFailed)
		}
		t.input.N = maxHead
		request, err := http.ReadRequest(t.reader)
		if err != nil {
			return t.ended(err, r)
		}
		if request.ProtoMajor != 1 {
			t.complain(http.StatusHTTPVersionNotSupported)
			return worse(r, resultFailed)
		}
		last := n == maxRequests || request.Close || !request.ProtoAtLeast(1, 1)
		if last, err = t.answer(ctx, request, last); err != nil {
			return worse(r, resultFailed)
		}
		r = resultShown
		if last {
			return r
		}
	}
	return r
}

// ended says what came of a conversation in which no further request could be
// read. r is what came of it before.
func (t *talk) ended(err error, r result) result {
	switch {
	case isAlert(err, certificateAlerts()):
		return worse(r, resultUntrusted) // some look at it only now
	case errors.Is(err, io.EOF), isGone(err) && t.input.N == maxHead, isAlert(err, partingAlerts()):
		return r
	case errors.Is(err, os.ErrDeadlineExceeded) && t.reader.Buffered() == 0 && t.input.N == maxHead:
		return r // it was opened for later
	case t.input.N <= 0:
		t.complain(http.StatusRequestHeaderFieldsTooLarge)
	case errors.Is(err, io.ErrUnexpectedEOF), isGone(err), errors.Is(err, os.ErrDeadlineExceeded):
	default:
		t.complain(http.StatusBadRequest)
	}
	return worse(r, resultFailed)
}

// worse is what is counted where a page was asked for in vain: nothing that
// comes later undoes one that was shown.
func worse(before, now result) result {
	if before == resultShown {
		return before
	}
	return now
}

// complain answers what is no request.
func (t *talk) complain(status int) {
	s := newSheet()
	s.WriteHeader(status)
	_, _ = t.secured.Write(s.bytes(nil, true)) // a courtesy: the connection ends anyway
}

// answer shows the page to one request, and says whether it was the last.
func (t *talk) answer(ctx context.Context, r *http.Request, last bool) (bool, error) {
	hasBody := r.Body != nil && r.Body != http.NoBody
	if hasBody && r.Header.Get("Expect") != "" {
		// Who waits for leave to send a body is answered without it
		// (RFC 9110 §10.1.1), and may send it nevertheless.
		r.Body, hasBody, last = http.NoBody, false, true
	}
	t.input.N = maxBody
	state := t.secured.ConnectionState()
	r.TLS, r.RemoteAddr = &state, t.secured.RemoteAddr().String()
	for _, private := range []string{"Cookie", "Authorization", "Proxy-Authorization"} {
		r.Header.Del(private)
	}
	s := newSheet()
	if !t.show(s, r.WithContext(ctx)) {
		s, last = newSheet(), true
		s.WriteHeader(http.StatusInternalServerError)
	}
	// A body that is larger than we read cannot be told from a next request.
	last = last || r.ContentLength > maxBody || s.header.Get("Connection") == "close"
	if _, err := t.secured.Write(s.bytes(r, last)); err != nil {
		return true, err
	}
	if hasBody && !last {
		_, err := io.Copy(io.Discard, r.Body) // as far as maxBody goes
		last = err != nil
	}
	return last, nil
}

// show has the page written. One that panics must not take the gateway along.
func (t *talk) show(s *sheet, r *http.Request) (whole bool) {
	defer func() {
		if failure := recover(); failure != nil {
			t.log.Error("the page for a refused connection has failed: please report this",
				zap.Any("panic", failure), zap.ByteString("stack", debug.Stack()))
			whole = false
		}
	}()
	t.page.ServeHTTP(s, r)
	return true
}
