package proxy

import (
	"fmt"
	"net"
	"net/http"

	"github.com/elazarl/goproxy"
	"go.uber.org/zap"
)

// newForwarder makes the handler that carries plain requests and WebSockets:
// goproxy, told to do as little as possible by itself. Every request it gets
// has been decided already, and it reaches origins through roundTrip only.
//
// Its ready-made CONNECT actions are not used, here or anywhere: each of them
// carries a certificate authority whose private key is public.
func newForwarder(transport *http.Transport, roundTrip func(*http.Request) (*http.Response, error), log *zap.Logger) http.Handler {
	engine := goproxy.NewProxyHttpServer()
	engine.Logger = debugLog{log.Sugar()}
	engine.Tr = transport // in place of one that obeys HTTP_PROXY
	engine.ConnectDial = nil
	engine.ConnectDialWithReq = func(*http.Request, string, string) (net.Conn, error) {
		return nil, fmt.Errorf("proxy: CONNECT does not come this way")
	}
	engine.KeepHeader = true // outgoing has taken out what goes no further
	engine.NonproxyHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not a request for a proxy", http.StatusBadRequest)
	})
	tripper := goproxy.RoundTripperFunc(func(r *http.Request, _ *goproxy.ProxyCtx) (*http.Response, error) {
		return roundTrip(r)
	})
	engine.OnRequest().DoFunc(func(r *http.Request, ctx *goproxy.ProxyCtx) (*http.Request, *http.Response) {
		ctx.RoundTripper = tripper
		return r, nil
	})
	return engine
}

// debugLog takes goproxy's remarks about broken connections, which anybody can
// cause, at a level at which they do not fill a disk.
type debugLog struct{ log *zap.SugaredLogger }

// Printf writes one remark.
func (d debugLog) Printf(format string, arguments ...any) { d.log.Debugf(format, arguments...) }
