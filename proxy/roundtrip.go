package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/outbound"
)

// Bounds of the connections to origins of plain requests.
const (
	maxIdleConns        = 1024
	maxIdleConnsPerSet  = 64
	idleConnTimeout     = 90 * time.Second
	maxResponseHeader   = 256 << 10
	continueWaitTimeout = time.Second
)

// newPool makes the pool of connections for plain requests. It leaves bodies as
// they are; outbound gives it its connections.
func newPool(limits Timeouts) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols:              &protocols,
		DisableCompression:     true,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConnsPerSet,
		IdleConnTimeout:        min(idleConnTimeout, limits.Idle),
		ResponseHeaderTimeout:  limits.Idle,
		ExpectContinueTimeout:  continueWaitTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
}

// roundTrip sends a request and makes of whatever happens a response that can
// be passed on. Its error is always nil: goproxy would show it to the client.
func (s *Server) roundTrip(r *http.Request) (*http.Response, error) {
	p, ok := r.Context().Value(exchangeKey{}).(*passage)
	if !ok {
		return nil, errors.New("proxy: round trip: not an exchange of ours")
	}
	if bindsConnection(r.Header["Authorization"]) {
		r.Close = true
	}
	p.account.dialled(outbound.Conn{}, p.addrs)
	response, err := s.transport.RoundTrip(r, p.target())
	p.informer.stop()
	if err != nil {
		s.dependencies.Log.Debug("round trip failed", zap.String("decision", p.id),
			zap.Stringer("host", p.request.Host), zap.Error(err))
		if p.unreadable.Load() {
			answer := p.failure(r, failure{http.StatusBadRequest, "http_request_error", "the content of the request could not be read"})
			answer.Header.Set("Connection", "close") // where the next request begins is not known
			return answer, nil
		}
		p.elsewhere = p.isElsewhere(err)
		return p.failure(r, describe(err)), nil
	}
	p.watch.touch()
	if response.StatusCode == http.StatusSwitchingProtocols {
		if p.tunnel == nil || !switchesToWebSocket(response.Header) {
			_ = response.Body.Close()
			p.elsewhere = true
			return p.failure(r, failure{http.StatusBadGateway, "http_protocol_error", "the server answered in another protocol"}), nil
		}
		return response, nil
	}
	removeHopByHop(response.Header)
	addVia(response.Header, byte(response.ProtoMajor), byte(response.ProtoMinor), s.pseudonym)
	response.Body = p.paced(&watchedBody{ReadCloser: response.Body, passage: p, fromOrigin: true}, false)
	return response, nil
}

// bindsConnection reports whether the credentials sign in a connection rather
// than a request (RFC 4559 §5, NTLM). Such a connection must not be used for
// anybody else afterwards.
func bindsConnection(authorization []string) bool {
	for _, value := range authorization {
		scheme, _, _ := strings.Cut(value, " ")
		if strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate") {
			return true
		}
	}
	return false
}

// failure is a short answer of our own in place of the origin's.
func (p *passage) failure(r *http.Request, f failure) *http.Response {
	p.failed = true
	if fault := p.fault.Load(); fault != nil {
		f = *fault // whatever came of it
	}
	text := f.text(p.exchange)
	header := http.Header{
		"Content-Type":           {"text/plain; charset=utf-8"},
		"Content-Length":         {strconv.Itoa(len(text))},
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
		"Proxy-Status":           {"sallyport; error=" + f.proxyStatus},
	}
	body := io.NopCloser(strings.NewReader(text))
	if r.Method == http.MethodHead {
		body = http.NoBody
	}
	return &http.Response{
		StatusCode: f.status, Header: header, Body: body, ContentLength: int64(len(text)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
	}
}

// watchedBody tells the idle watch about every piece of a body, and remembers
// when it ended before its time.
type watchedBody struct {
	io.ReadCloser
	passage    *passage
	fromOrigin bool
}

// Read reads as the body does.
func (b *watchedBody) Read(data []byte) (int, error) {
	n, err := b.ReadCloser.Read(data)
	b.passage.watch.touch()
	switch {
	case err == nil || errors.Is(err, io.EOF):
	case b.fromOrigin:
		b.passage.broken = true
	case !errors.Is(err, os.ErrDeadlineExceeded):
		b.passage.unreadable.Store(true)
	}
	return n, err
}
