package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// listServer serves one list, as a provider would.
type listServer struct {
	*httptest.Server
	mu      sync.Mutex
	body    string
	version int
	instead http.HandlerFunc // nil: the list is served
	asked   []*http.Request
}

// serveList serves a list until the test ends.
func serveList(t *testing.T, body string) *listServer {
	t.Helper()
	s := &listServer{body: body}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *listServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	body, etag, instead := s.body, fmt.Sprintf(`"v%d"`, s.version), s.instead
	s.asked = append(s.asked, r.Clone(r.Context()))
	s.mu.Unlock()
	switch {
	case instead != nil:
		instead(w, r)
	case r.Header.Get("If-None-Match") == etag:
		w.WriteHeader(http.StatusNotModified)
	default:
		w.Header().Set("ETag", etag)
		_, _ = strings.NewReader(body).WriteTo(w)
	}
}

// set changes the list.
func (s *listServer) set(body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body, s.version, s.instead = body, s.version+1, nil
}

// answer has everything answered otherwise; nil: with the list again.
func (s *listServer) answer(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instead = h
}

// status answers everything with a status.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// requests are those so far.
func (s *listServer) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request{}, s.asked...)
}
