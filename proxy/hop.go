package proxy

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// removeHopByHop deletes from header the fields that concern one connection
// only: the well-known ones, and those that Connection names (RFC 9110
// §7.6.1). Credentials for the proxy are among them: they never leave.
func removeHopByHop(header http.Header) {
	for _, value := range header["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			header.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Transfer-Encoding", "Upgrade",
		"Proxy-Authorization", "Proxy-Authenticate", "Proxy-Authentication-Info"} {
		delete(header, name)
	}
}

// acceptTrailers tells the next hop that trailers are taken (RFC 9110 §10.1.4).
// TE is said anew by each hop, for those that pass trailers on.
func acceptTrailers(header http.Header) {
	header["Te"] = []string{"trailers"}
	header["Connection"] = []string{"TE"}
}

// hopsLeft reads Max-Forwards (RFC 9110 §7.6.2), which counts for OPTIONS; there
// is no TRACE here.
func hopsLeft(header http.Header) (n uint64, ok bool) {
	n, err := strconv.ParseUint(header.Get("Max-Forwards"), 10, 63)
	return n, err == nil
}

// goesNoFurther reports whether a request is meant for us, as the last of a
// counted number of proxies.
func goesNoFurther(r *http.Request) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	n, ok := hopsLeft(r.Header)
	return ok && n == 0
}

// askOfServer makes of an OPTIONS what the next hop is to get: without a path,
// it is about the server as a whole (RFC 9112 §3.2.4).
func askOfServer(header http.Header, target *url.URL) {
	if n, ok := hopsLeft(header); ok && n > 0 {
		header.Set("Max-Forwards", strconv.FormatUint(n-1, 10))
	}
	if target.Path == "" && target.RawQuery == "" && !target.ForceQuery {
		target.Opaque = "*"
	}
}

// newPseudonym makes the name by which this process calls itself in Via. It
// tells nobody which machine that is, and is different after every start, so
// that two gateways in a row are not taken for a loop.
func newPseudonym() string { return "sallyport-" + strings.ToLower(rand.Text()[:8]) }

// addVia appends this proxy to the Via field (RFC 9110 §7.6.3).
func addVia(header http.Header, major, minor byte, pseudonym string) {
	entry := string([]byte{'0' + major, '.', '0' + minor, ' '}) + pseudonym
	if before := header.Values("Via"); len(before) > 0 {
		entry = strings.Join(before, ", ") + ", " + entry
	}
	header.Set("Via", entry)
}

// passedBefore reports whether the value of a Via field says that the message
// has been here.
func passedBefore(via, pseudonym string) bool {
	for entry := range strings.SplitSeq(via, ",") {
		if fields := strings.Fields(entry); len(fields) >= 2 && fields[1] == pseudonym {
			return true
		}
	}
	return false
}

// asksForWebSocket reports whether a request wants to become a WebSocket
// (RFC 6455 §4.2.1).
func asksForWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) && switchesToWebSocket(r.Header)
}

// switchesToWebSocket reports whether a message's head names the upgrade.
func switchesToWebSocket(header http.Header) bool {
	return hasToken(header["Connection"], "upgrade") && hasToken(header["Upgrade"], "websocket")
}

func hasToken(values []string, token string) bool {
	for _, value := range values {
		for element := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(element), token) {
				return true
			}
		}
	}
	return false
}
