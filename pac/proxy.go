package pac

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/policy"
)

// Scheme is how a browser speaks to a proxy.
type Scheme uint8

// The schemes. The zero value is the one that every browser knows.
const (
	HTTP   Scheme = iota // a proxy that is spoken to in the clear
	HTTPS                // the proxy protocol inside TLS
	SOCKS5               // RFC 1928, with names sent to the proxy
)

// String is the scheme as [ParseProxy] reads it.
func (s Scheme) String() string {
	switch s {
	case HTTPS:
		return "https"
	case SOCKS5:
		return "socks5"
	default:
		return "http"
	}
}

// keyword is the scheme in what FindProxyForURL returns.
func (s Scheme) keyword() string {
	switch s {
	case HTTPS:
		return "HTTPS"
	case SOCKS5:
		return "SOCKS5"
	default:
		return "PROXY"
	}
}

// Proxy is one proxy that a script names. One without a Host is the gateway's
// own listener of that scheme, wherever it is: somebody must fill in where
// before a script can name it.
type Proxy struct {
	Scheme Scheme
	Host   policy.Host
	Port   uint16 // 0 where there is no Host
}

// ParseProxy reads a proxy as an administrator writes it: http, https or socks5
// for the gateway's own listener, or host:port with one of these and :// before
// it; http where nothing is before it. It is an error where s is none of these.
func ParseProxy(s string) (Proxy, error) {
	schemes := map[string]Scheme{HTTP.String(): HTTP, HTTPS.String(): HTTPS, SOCKS5.String(): SOCKS5}
	if scheme, own := schemes[s]; own {
		return Proxy{Scheme: scheme}, nil
	}
	word, where, ok := strings.Cut(s, "://")
	if !ok {
		word, where = HTTP.String(), s
	}
	scheme, known := schemes[word]
	if !known {
		return Proxy{}, fmt.Errorf("%q is no kind of proxy: write http, https or socks5 before \"://\"", word)
	}
	where = strings.TrimSuffix(where, "/")
	if u, err := url.Parse("//" + where); err == nil && u.User != nil {
		return Proxy{}, fmt.Errorf("%q has a user name in it: everybody can read the file; people sign in when the proxy asks them", s)
	}
	name, port, err := net.SplitHostPort(where)
	if err != nil {
		return Proxy{}, fmt.Errorf("%q is no proxy: write host:port, as in proxy.corp.example:3128, or http, https or socks5 for this gateway's own", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Proxy{}, fmt.Errorf("port %q in %q is not a number from 1 to 65535", port, s)
	}
	host, err := policy.ParseHost(name)
	if err != nil {
		return Proxy{}, fmt.Errorf("%q in %q is neither a name nor an address", name, s)
	}
	return Proxy{Scheme: scheme, Host: host, Port: uint16(n)}, nil
}

// String is the proxy as ParseProxy reads it.
func (p Proxy) String() string {
	if p.Host.IsZero() {
		return p.Scheme.String()
	}
	return p.Scheme.String() + "://" + p.address()
}

func (p Proxy) address() string {
	return net.JoinHostPort(p.Host.String(), strconv.Itoa(int(p.Port)))
}

// answer is what FindProxyForURL returns for what goes to the proxy: each of
// the proxies in turn, and nothing behind them where fallback is not wanted, so
// that a proxy out of service does not lift the policy.
func answer(proxies []Proxy, fallback bool) string {
	var all []string
	for _, p := range proxies {
		all = append(all, p.Scheme.keyword()+" "+p.address())
	}
	if fallback {
		all = append(all, direct)
	}
	return strings.Join(all, "; ")
}

// direct is what FindProxyForURL returns for what goes to no proxy.
const direct = "DIRECT"
