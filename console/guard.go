package console

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guard turns away requests that a web page could have made a browser send:
// by DNS rebinding (a foreign name in Host that leads to this listener) and
// across origins.
func (a *admin) guard(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		changes := r.Method != http.MethodGet && r.Method != http.MethodHead
		if (changes || a.config.Loopback) && !a.knownHost(r.Host) {
			writeError(w, http.StatusMisdirectedRequest,
				"the admin listener is not called "+quote(r.Host)+": use its address, or add the name to admin.hosts")
			return
		}
		if err := sameOrigin.Check(r); err != nil {
			writeError(w, http.StatusForbidden, "a request from another origin: "+err.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knownHost reports whether a Host header can only mean this listener: an
// address cannot be rebound, and localhost never leaves the machine.
func (a *admin) knownHost(header string) bool {
	host := hostOnly(header)
	if host == "localhost" {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return slices.Contains(a.config.Hosts, host)
}

// hostOnly is the host of a Host header: lower case, without port, brackets
// and trailing dot.
func hostOnly(header string) string {
	host, _, err := net.SplitHostPort(header)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(header, "["), "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// quote writes text that a client sent so that it cannot fill a message.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	return `"` + strings.Map(printable, s) + `"`
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r == '"' {
		return '?'
	}
	return r
}
