package proxy

import (
	"net/http"
	"net/url"
	"strings"
)

// serveStream serves one stream of HTTP/2: a CONNECT (RFC 9113 §8.5), whose
// stream then is the tunnel, or a plain request.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	defer s.abort()
	if !s.requests.Enter() {
		w.Header().Set("Connection", "close") // net/http makes a GOAWAY of it
		http.Error(w, "the proxy is stopping", http.StatusServiceUnavailable)
		return
	}
	defer s.requests.Leave()
	conn, ok := r.Context().Value(connKey{}).(*clientConn)
	if !ok {
		panic("proxy: request from a foreign listener")
	}
	writer := &streamWriter{ResponseWriter: w}
	defer writer.retire()
	if r.Method == http.MethodConnect {
		s.connectStream(writer, r, conn)
		return
	}
	s.forward(writer, wholeRequest(r), conn)
}

// connectStream opens a tunnel in a stream, and returns when it is over: with
// the handler ends the stream.
func (s *Server) connectStream(w *streamWriter, r *http.Request, conn *clientConn) {
	f := &streamFront{webFront: s.newWebFront(w, r, conn), writer: w}
	asking := f.webFront.asking(methodConnect)
	asking.front = f
	x := s.newExchange(asking)
	if !x.admitted() || !f.framed(x) {
		return
	}
	if r.ContentLength > 0 {
		x.say(http.StatusBadRequest, "a CONNECT has no content\n")
		return
	}
	left := false
	defer func() { f.settle(left) }()
	s.tunnelTo(x, r.RequestURI)
	left = true
}

// wholeRequest is a plain request of HTTP/2 as HTTP/1.1 would have it: with a
// whole URI, from the scheme, the authority and the path (RFC 9113 §8.3.1). It
// has no host where the path is none: nobody serves that.
func wholeRequest(r *http.Request) *http.Request {
	target := &url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	if r.TLS != nil { // the library's way to say that the scheme is https
		target.Scheme = "https"
	}
	switch {
	case r.URL.Path == "*" && r.Method == http.MethodOptions:
		target.Path = ""
	case r.URL.IsAbs(), r.URL.Host != "", !strings.HasPrefix(r.URL.Path, "/"):
		target.Host = ""
	}
	whole := new(http.Request)
	*whole = *r
	whole.URL = target
	return whole
}
