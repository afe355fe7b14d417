package ingress

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/gate"
)

// maxPathID is how long the id behind the path may be.
const maxPathID = 256

// visitor is a connection that HTTP requests come by.
type visitor struct {
	member *member
	client func() netip.AddrPort
	served atomic.Bool // it has made a request

	once sync.Once
	peer *Peer // whom the client certificate names

	told     chan struct{} // closed once a stranger has been told; nil where net/http ends the connection
	toldOnce sync.Once
}

// tell ends the connection of a stranger who has his answer.
func (v *visitor) tell() {
	if v.told != nil {
		v.toldOnce.Do(func() { close(v.told) })
	}
}

// peerOnce is whom the certificate names; it is looked at once a connection.
func (v *visitor) peerOnce(state *tls.ConnectionState) *Peer {
	v.once.Do(func() {
		if state != nil {
			v.peer = peerOf(*state)
		}
	})
	return v.peer
}

// visitorKey is how a request's context has its visitor.
type visitorKey struct{}

// dohHandler answers DNS queries over HTTP (RFC 8484), of any version.
type dohHandler struct {
	*shared
	path     string
	pathPeer func(id string) (*Peer, bool) // nil: no ids behind the path
	altSvc   string                        // where HTTP/3 is; empty: nowhere

	door      Door
	bursts    *bursts
	exchanges *exchanges
	requests  gate.Gate
}

// open is called before the first request.
func (h *dohHandler) open(door Door) {
	h.door, h.bursts, h.exchanges = door, newBursts(door), newExchanges()
}

// ServeHTTP answers one request. The answer depends on who asks, so that only
// the client's own cache may keep it. Forwarding headers are not looked at:
// who wants to name a client needs the PROXY protocol.
func (h *dohHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	visitor, ok := r.Context().Value(visitorKey{}).(*visitor)
	if !ok {
		panic("ingress: request from a foreign listener")
	}
	if !h.requests.Enter() {
		panic(http.ErrAbortHandler) // served too late
	}
	defer h.requests.Leave()
	if !visitor.member.begin() {
		panic(http.ErrAbortHandler) // the connection has been sent away
	}
	visitor.served.Store(true)
	defer func() { visitor.member.end(h.crowd.now()) }()

	peer, status := h.peerOf(r, visitor)
	if !h.crowd.settle(visitor.member, peer != nil) {
		visitor.member.cut()
		panic(http.ErrAbortHandler)
	}
	switch {
	case visitor.member.is(stranger): // told once; strangers hold no connection
		defer visitor.tell()
		if r.ProtoMajor < 3 {
			w.Header().Set("Connection", "close")
		}
	case h.altSvc != "" && r.ProtoMajor < 3:
		w.Header().Set("Alt-Svc", h.altSvc)
	}
	if !h.reading.tryTake() {
		h.shed(ShedBusy, 1)
		h.refuse(w, http.StatusServiceUnavailable)
		return
	}
	h.beginBody(w, r)
	x := h.exchanges.get()
	defer h.exchanges.put(x)
	func() {
		defer h.reading.give()
		if status == http.StatusOK {
			status = x.readQuery(r)
		}
	}()
	h.endBody(w, r, status)
	if status != http.StatusOK {
		h.refuse(w, status)
		return
	}
	x.query = Query{Wire: x.wire, Client: visitor.client(), Transport: HTTPS, Peer: peer, Arrived: time.Now()}
	if !h.answerNow(w, x) {
		h.answer(w, r, x)
	}
}

// beginBody gives the body of a request its time to arrive: also that of one
// that nobody reads, which net/http does before the next request.
func (h *dohHandler) beginBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(min(h.idle, streamPatience)))
	}
}

// endBody ends the time of a body that has been read: an answer may take
// longer, and the connection is still read for the client's leaving.
func (h *dohHandler) endBody(w http.ResponseWriter, r *http.Request, status int) {
	if r.ContentLength != 0 && status == http.StatusOK {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}
}

// peerOf is whom the client has proven to be: by certificate, or by the id
// behind the path, which must be good in either case: the status says whether
// it is.
func (h *dohHandler) peerOf(r *http.Request, v *visitor) (peer *Peer, status int) {
	peer = v.peerOnce(r.TLS)
	if r.URL.Path == h.path {
		return peer, http.StatusOK
	}
	id, ok := strings.CutPrefix(r.URL.Path, h.path+"/")
	if !ok || h.pathPeer == nil || id == "" || len(id) > maxPathID || strings.Contains(id, "/") {
		return peer, http.StatusNotFound
	}
	named, ok := h.pathPeer(id)
	if !ok {
		h.shed(ShedDevicePath, 1)
		return peer, http.StatusForbidden
	}
	if peer == nil {
		peer = named
	}
	return peer, http.StatusOK
}

// answerNow answers what a desk can answer at once.
func (h *dohHandler) answerNow(w http.ResponseWriter, x *exchange) (done bool) {
	b := h.bursts.get()
	defer h.bursts.put(b)
	b.desk.Begin()
	defer b.desk.End()
	reply, done := b.desk.Try(&x.query, b.out[:0])
	if done {
		h.write(w, reply)
	}
	return done
}

// answer answers what may have to wait, if there is a place for it.
func (h *dohHandler) answer(w http.ResponseWriter, r *http.Request, x *exchange) {
	if !h.slots.tryTake() {
		h.shed(ShedBusy, 1)
		h.refuse(w, http.StatusServiceUnavailable)
		return
	}
	reply := func(ctx context.Context) []byte {
		defer h.slots.give()
		return h.door.Respond(ctx, &x.query, x.frame[lengthBytes:])
	}(r.Context())
	h.write(w, reply)
}

// write writes a reply. Nothing to say cannot be said over HTTP: it is 503.
func (h *dohHandler) write(w http.ResponseWriter, reply []byte) {
	if len(reply) == 0 {
		h.refuse(w, http.StatusServiceUnavailable)
		return
	}
	header := w.Header()
	header.Set("Content-Type", messageType)
	header.Set("Cache-Control", "private, max-age="+strconv.FormatUint(uint64(freshness(reply)), 10))
	_, _ = w.Write(reply) // and of HEAD, which has no body, net/http keeps it back
}

// refuse answers a request that gets no reply.
func (h *dohHandler) refuse(w http.ResponseWriter, status int) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	switch status {
	case http.StatusMethodNotAllowed:
		header.Set("Allow", "GET, HEAD, POST")
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", "1")
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong:
		h.shed(ShedMalformed, 1)
	}
	http.Error(w, http.StatusText(status), status)
}
