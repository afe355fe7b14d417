package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/blockpage"
	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/proxy/outbound"
)

// deny counts an answer, and has the front give it.
func (x *exchange) deny(a answer) {
	x.server.metrics.answered(x.method, a.status)
	x.observe(a.kind(), a.status)
	x.account.asked(x)
	x.account.answered(a)
	x.front.deny(x, a)
	x.account.close()
}

// refuse answers with the verdict, and records it.
func (x *exchange) refuse() {
	x.deny(answer{status: http.StatusForbidden, decision: x.record(), proxyStatus: "http_request_denied"}) // RFC 9209 §2.3.9
}

// askWho answers a request for which it matters who asks. A browser that is
// asked again throws away the password that it has sent: where the password
// could not be checked, it is told to come back instead.
func (x *exchange) askWho() {
	if err := x.unproven; err != nil && !x.server.dependencies.BadCredentials(err) {
		x.server.dependencies.Log.Debug("credentials not checked", zap.Stringer("client", x.client), zap.Error(err))
		x.unavailable("your password cannot be checked at the moment; try again\n")
		return
	}
	x.challenge()
}

// challenge asks for a user name and a password (RFC 9110 §15.5.8, RFC 7617).
// It is no decision, and is not recorded as one. What is refused to whoever does
// not sign in has its page: most who are asked have no exception, and read it
// once they have closed the browser's question.
func (x *exchange) challenge() {
	a := answer{status: http.StatusProxyAuthRequired, challenge: true, text: "this destination needs your user name and password\n"}
	if x.verdict.Action.Refuses() && x.verdict.Rule != nil {
		a.sample = x.decision()
		a.sample.ID = "" // under which nothing will be found
	}
	x.deny(a)
}

// say answers with one line of text.
func (x *exchange) say(status int, text string) { x.deny(answer{status: status, text: text}) }

// hangUp answers a request that makes no sense, and serves none behind it.
func (x *exchange) hangUp(err error) {
	x.deny(answer{status: http.StatusBadRequest, text: err.Error() + "\n", last: true})
}

// busy answers that the number of tunnels is used up.
func (x *exchange) busy() {
	x.unavailable("too many connections are open; try again in a moment\n")
}

// unavailable answers what a later try may be more successful with.
func (x *exchange) unavailable(text string) {
	x.deny(answer{status: http.StatusServiceUnavailable, text: text, retry: true})
}

// unreachable answers that the origin could not be reached. The text names
// what the client asked for and nothing of the network behind the proxy.
func (x *exchange) unreachable(err error) {
	failure := describe(err)
	x.server.dependencies.Log.Debug("origin not reached", zap.String("decision", x.id),
		zap.Stringer("host", x.request.Host), zap.Error(err))
	x.deny(answer{status: failure.status, proxyStatus: failure.proxyStatus, text: failure.text(x), elsewhere: x.isElsewhere(err)})
}

// failure is an error as a client may see it.
type failure struct {
	status      int
	proxyStatus string // error type of RFC 9209 §2.3
	sentence    string
}

// text is what the client reads about its host, and whom it may ask.
func (f failure) text(x *exchange) string {
	text := fmt.Sprintf("%s: %s\n", x.request.Host, f.sentence)
	if o := x.verdict.Organisation; o != nil && o.Contact != "" {
		text += "Questions? Ask " + o.Contact + "\n"
	}
	return text
}

// statusClientGone is what the metrics show for a client that has left before
// its answer was there. Nobody ever reads it.
const statusClientGone = 499

// resolveError is a failure to find out the addresses of a name.
type resolveError struct {
	err  error
	none bool // there are none: nothing has failed but the name
}

// Error says what failed.
func (e *resolveError) Error() string { return "resolve: " + e.err.Error() }

// Unwrap is the error that resolving ended with.
func (e *resolveError) Unwrap() error { return e.err }

// describe sorts an error from resolving, dialling or a round trip.
func describe(err error) failure {
	var network net.Error
	timeout := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
	var resolving *resolveError
	var parent *outbound.ParentError
	switch {
	case errors.Is(err, context.Canceled):
		return failure{statusClientGone, "http_request_error", "the client has left"}
	case errors.As(err, &parent):
		return failure{parent.Status(), parent.ProxyStatus(), parent.Sentence()}
	case errors.As(err, &resolving) && timeout:
		return failure{http.StatusGatewayTimeout, "dns_timeout", "no resolver has answered in time; try again later"}
	case errors.As(err, &resolving) && resolving.none:
		return failure{http.StatusBadGateway, "dns_error", "there is no such name, or it has no address; look at how it is written"}
	case errors.As(err, &resolving):
		return failure{http.StatusBadGateway, "dns_error", "no resolver could look the name up; try again later"}
	case timeout:
		return failure{http.StatusGatewayTimeout, "connection_timeout", "the server did not answer in time"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return failure{http.StatusBadGateway, "connection_refused", "the server refused the connection"}
	case errors.Is(err, syscall.ENETUNREACH):
		return failure{http.StatusBadGateway, "destination_ip_unroutable", "there is no way to the server's network"}
	default:
		return failure{http.StatusBadGateway, "destination_unavailable", "the server could not be reached"}
	}
}

// write gives an answer over HTTP. r is the request that it answers; of it only
// the method and Accept matter. url is what the user wanted to see, for a page
// that offers to go on; empty: that is not known.
func (s *Server) write(a answer, w http.ResponseWriter, r *http.Request, url string) {
	a.header(w.Header(), s.config.Realm)
	d := cmp.Or(a.decision, a.sample)
	if d == nil {
		writeText(w, r, a.status, a.text)
		return
	}
	refusal := blockpage.FromVerdict(&d.Verdict, d.Host, d.ID, d.Time)
	refusal.SignIn = a.challenge
	if d.Verdict.Action == policy.ActionWarn && !a.challenge {
		refusal.Offer.URL = s.dependencies.Continue(d, url)
	}
	blockpage.Write(w, r, a.status, refusal)
}

// writeText answers with text, and with headers alone where r is a HEAD.
func writeText(w http.ResponseWriter, r *http.Request, status int, text string) {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, text) // an error means that the client has left
	}
}
