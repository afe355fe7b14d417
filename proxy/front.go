package proxy

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/netip"

	"github.com/sallyport/sallyport/policy"
)

// front is the protocol in which a client asked, as far as the door must know
// it: how to say no, and how to say yes. There is one value a request.
type front interface {
	// deny tells the client that it does not get through, and why.
	deny(x *exchange, a answer)

	// open tells the client that it is through, and gives its connection, with
	// what has been read from it beyond the request. The caller closes the
	// connection; after an error there is none.
	open(x *exchange) (client net.Conn, early []byte, err error)
}

// asking is what every front knows about a request.
type asking struct {
	front       front
	ctx         context.Context // ends when the client leaves, where the front can tell, and with the server
	client      netip.Addr
	original    netip.AddrPort // where a client went that knows of no proxy; invalid: it knows
	peer        *Peer          // whom the client's certificate names; nil: nobody
	credentials string         // value of Proxy-Authorization or its like; empty: none
	accept      string         // value of Accept: what the client can show
	agent       string         // value of User-Agent
	referer     string         // value of Referer
	via         string         // value of Via: the proxies that it has come through
	target      string         // as the client wrote it
	verb        string         // the request's method: CONNECT for every kind of tunnel but a WebSocket
	major       int            // version of HTTP in which the client asked; 0: in another protocol
	minor       int
	url         string // of a plain request, whole; empty: there is none
	method      string // metric label
	transport   string // of the decision
}

// answer is what a client is told that does not get through. The status is
// HTTP's; fronts that do not speak HTTP translate it.
type answer struct {
	status      int
	decision    *policy.Decision // of a refusal, for its page; nil: text is all there is
	sample      *policy.Decision // of a challenge: what refuses without a user, for its page; recorded nowhere
	text        string
	proxyStatus string // of Proxy-Status, RFC 9209; empty: none
	challenge   bool   // ask for a user name
	retry       bool   // worth another try in a moment
	elsewhere   bool   // it is the fault of what is behind the proxy
	last        bool   // nothing that the client sends behind the request may be served
}

// header fills in what an answer says besides its page or text.
func (a answer) header(header http.Header, realm string) {
	if a.proxyStatus != "" {
		header.Set("Proxy-Status", "sallyport; error="+a.proxyStatus)
	}
	if a.challenge {
		header.Set("Proxy-Authenticate", "Basic realm="+quoted(realm)+`, charset="UTF-8"`)
	}
	if a.retry {
		header.Set("Retry-After", retryAfter)
	}
	if a.last {
		header.Set("Connection", "close")
	}
}

// retryAfter is how many seconds a client should wait that came at a bad time.
const retryAfter = "5"

// quoted writes a quoted-string (RFC 9110 §5.6.4) of visible ASCII.
func quoted(text string) string {
	var b bytes.Buffer
	b.WriteByte('"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c < 0x7f:
			b.WriteByte(c)
		default:
			b.WriteByte('?')
		}
	}
	b.WriteByte('"')
	return b.String()
}
