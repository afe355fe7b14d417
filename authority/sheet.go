package authority

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// sheet keeps an answer until it is whole, so that it goes out in one piece
// and its length is known. It is for pages: there is no bound to it but the
// page's own.
type sheet struct {
	header http.Header
	status int // 0: not said
	body   bytes.Buffer
}

func newSheet() *sheet { return &sheet{header: make(http.Header)} }

// Header is the answer's, as http.ResponseWriter has it.
func (s *sheet) Header() http.Header { return s.header }

// WriteHeader keeps the status. The first one counts; interim ones (1xx) are
// left out, for nobody waits for them.
func (s *sheet) WriteHeader(status int) {
	if s.status == 0 && status >= http.StatusOK {
		s.status = status
	}
}

// Write keeps a piece of the body. It never fails.
func (s *sheet) Write(p []byte) (int, error) {
	s.WriteHeader(http.StatusOK)
	return s.body.Write(p)
}

// bytes is the answer as it goes over the wire. r may be nil.
func (s *sheet) bytes(r *http.Request, last bool) []byte {
	s.WriteHeader(http.StatusOK)
	if last {
		s.header.Set("Connection", "close")
	}
	s.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	s.header.Del("Transfer-Encoding")
	bodiless := s.status == http.StatusNoContent || s.status == http.StatusNotModified
	if bodiless {
		s.header.Del("Content-Length")
	} else {
		s.header.Set("Content-Length", strconv.Itoa(s.body.Len()))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", s.status, http.StatusText(s.status))
	_ = s.header.Write(&b) // a bytes.Buffer takes everything
	b.WriteString("\r\n")
	if !bodiless && (r == nil || r.Method != http.MethodHead) {
		b.Write(s.body.Bytes())
	}
	return b.Bytes()
}
