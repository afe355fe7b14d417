package outbound

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// How a parent proxy is spoken to.
const (
	SchemeHTTP    = "http"    // CONNECT, or a plain request in absolute form (RFC 9112 §3.2.2)
	SchemeHTTPS   = "https"   // the same inside TLS
	SchemeSOCKS5  = "socks5"  // RFC 1928; it is given addresses
	SchemeSOCKS5H = "socks5h" // RFC 1928; it is given names
)

// schemes are all of them.
func schemes() []string { return []string{SchemeHTTP, SchemeHTTPS, SchemeSOCKS5, SchemeSOCKS5H} }

// Endpoint is where a parent proxy listens, and how it is spoken to.
type Endpoint struct {
	Scheme string // one of the Scheme constants
	Host   string // canonical name, or text of an address
	Port   uint16
}

// String is the endpoint as a URL.
func (e Endpoint) String() string {
	return e.Scheme + "://" + net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// ParseEndpoint reads a parent's URL: a scheme, a host and a port, and nothing
// else. The error says what would be right. It does not quote a text that may
// hold a password. Whether the host is a name that DNS can carry is for the
// caller to say.
func ParseEndpoint(text string) (Endpoint, error) {
	const example = "write it as http://proxy.corp.example:3128"
	if strings.Contains(text, "@") {
		return Endpoint{}, errors.New("a URL with a user name or password in it: write user:password into a file of mode 0600, name that in credentials, and leave it out here")
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return Endpoint{}, fmt.Errorf("%q is not a proxy's URL: %s", text, example)
	}
	if !slices.Contains(schemes(), u.Scheme) {
		return Endpoint{}, fmt.Errorf("scheme %q in %q is none that a parent is spoken to with: use http, https, socks5 or socks5h", u.Scheme, text)
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return Endpoint{}, fmt.Errorf("%q: a proxy's URL ends with the port: %s", text, example)
	}
	if u.Port() == "" {
		return Endpoint{}, fmt.Errorf("%q has no port: proxies have no usual one, %s", text, example)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 {
		return Endpoint{}, fmt.Errorf("port %q in %q is not a number from 1 to 65535", u.Port(), text)
	}
	if !mayBeHost(u.Hostname()) {
		return Endpoint{}, fmt.Errorf("%q in %q is neither a name nor an address: %s", u.Hostname(), text, example)
	}
	return Endpoint{Scheme: u.Scheme, Host: u.Hostname(), Port: uint16(port)}, nil
}

// mayBeHost reports whether a text is an address, or could be a name: what
// characters beyond ASCII stand for is not known here.
func mayBeHost(text string) bool {
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Zone() == ""
	}
	odd := func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r > '~'
		return !letter && r != '.' && r != '-' && r != '_'
	}
	return text != "" && !strings.ContainsFunc(text, odd)
}

// address is the host where it is an address.
func (e Endpoint) address() (netip.Addr, bool) {
	address, err := netip.ParseAddr(e.Host)
	return address.Unmap(), err == nil
}

// isSOCKS reports whether SOCKS is spoken.
func (e Endpoint) isSOCKS() bool { return e.Scheme == SchemeSOCKS5 || e.Scheme == SchemeSOCKS5H }
