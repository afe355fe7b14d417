package proxy

import (
	"bytes"
	"net"
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/policy"
)

// maxHead bounds how much of a request's head is kept for its Host field.
const maxHead = 16 << 10

// headKeeper keeps the head of the request that is being read from a
// connection. A request with a whole URI may name another host in its Host
// field. net/http drops that field, as RFC 9112 §3.2.2 demands, so that the
// origin never sees it; but it is something that the client says of its
// destination, and the policy judges such things.
//
// It is used by one goroutine at a time: whoever reads from the connection.
type headKeeper struct {
	head []byte
	done bool // the head is whole, or too long to be kept
}

// take looks at bytes that have just been read.
func (k *headKeeper) take(data []byte) {
	if k.done {
		return
	}
	seen := max(0, len(k.head)-3) // the end may lie across two reads
	k.head = append(k.head, data...)
	fresh := k.head[seen:]
	k.done = bytes.Contains(fresh, []byte("\n\r\n")) || bytes.Contains(fresh, []byte("\n\n"))
	if len(k.head) > maxHead {
		k.head, k.done = nil, true
	}
}

// restart prepares for the next request on the connection.
func (k *headKeeper) restart() { k.head, k.done = k.head[:0], false }

// claimedHost is the host that r's Host field named, where it is another one
// than the URI's. The head that was kept must be r's: where clients send their
// next request before they have the answer to the last one, it may not be.
func (k *headKeeper) claimedHost(r *http.Request, host policy.Host) (policy.Host, bool) {
	first, fields, _ := bytes.Cut(k.head, []byte("\n"))
	line := r.Method + " " + r.RequestURI + " " + r.Proto
	kept := strings.TrimRight(string(first), "\r")
	// net/http may have read the first byte by itself.
	if kept != line && kept != line[1:] {
		return policy.Host{}, false
	}
	for field := range bytes.Lines(fields) {
		name, value, found := bytes.Cut(field, []byte(":"))
		if !found {
			break // the empty line: what follows is content
		}
		if !bytes.EqualFold(name, []byte("Host")) {
			continue
		}
		claimed, err := policy.ParseHost(withoutPort(strings.TrimSpace(string(value))))
		if err != nil || claimed == host {
			return policy.Host{}, false
		}
		return claimed, true
	}
	return policy.Host{}, false
}

// withoutPort cuts the port off a Host field.
func withoutPort(authority string) string {
	if name, _, err := net.SplitHostPort(authority); err == nil {
		return name
	}
	return authority
}
