package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// server is one resolver as an admin names it.
type server struct {
	name   string // in one form, as in metrics and logs: udp://192.0.2.1:53
	scheme string
	host   string     // to be looked up; empty where addr is known
	addr   netip.Addr // unmapped; invalid where host is not empty
	port   uint16
	verify string // the name or address that the certificate must be for
	path   string // https only, with the query part
}

// schemes are the transports and their ports (RFC 1035, 7858, 8484, 9250).
func schemes() map[string]uint16 {
	return map[string]uint16{"udp": 53, "tcp": 53, "tls": 853, "https": 443, "quic": 853}
}

// encrypted reports whether the server proves who it is.
func (s *server) encrypted() bool { return s.verify != "" }

// parseServer reads one resolver: SCHEME://HOST[:PORT], where HOST is an
// address or a name. tls and quic take #NAME for the certificate of an address;
// https takes a path. Without a scheme it is udp.
func parseServer(s string) (server, error) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "udp", s
	}
	port, known := schemes()[scheme]
	if !known {
		return server{}, fmt.Errorf("upstream %q: unknown scheme %q: use udp://, tcp://, tls://, https:// or quic://", s, scheme)
	}
	up := server{scheme: scheme, port: port}
	var err error
	switch scheme {
	case "https":
		err = up.readURL(s)
	case "tls", "quic":
		err = up.readNamed(rest)
	default:
		err = up.readHost(rest)
	}
	if err != nil {
		return server{}, fmt.Errorf("upstream %q: %w", s, err)
	}
	up.name = up.canonical()
	return up, nil
}

// readNamed reads HOST[:PORT][#NAME].
func (s *server) readNamed(text string) error {
	host, name, hasName := strings.Cut(text, "#")
	if err := s.readHost(host); err != nil {
		return err
	}
	s.verifyHost()
	if !hasName {
		return nil
	}
	var ok bool
	if s.verify, ok = hostName(name); !ok {
		return fmt.Errorf("%q is no name that a certificate can be for: use the resolver's, such as #dns.example", name)
	}
	return nil
}

// readURL reads a DoH resource (RFC 8484 §3): HOST[:PORT][/PATH]. The {?dns} of
// a URI template is for GET, which is not used.
func (s *server) readURL(text string) error {
	u, err := url.Parse(strings.TrimSuffix(text, "{?dns}"))
	if err != nil {
		return errors.New("not a URL: use one such as https://dns.example/dns-query")
	}
	if u.User != nil || u.Fragment != "" {
		return errors.New("a user or a # has no meaning in an https upstream: use one such as https://dns.example/dns-query")
	}
	if err := s.readHost(u.Host); err != nil {
		return err
	}
	s.verifyHost()
	if u.Path == "" {
		u.Path = "/dns-query"
	}
	s.path = u.RequestURI()
	return nil
}

func (s *server) verifyHost() {
	if s.verify = s.host; s.host == "" {
		s.verify = s.addr.WithZone("").String()
	}
}

// readHost reads an address or a name, with or without a port.
func (s *server) readHost(text string) error {
	if addr, err := netip.ParseAddr(unbracketed(text)); err == nil {
		s.addr = addr.Unmap()
		return nil
	}
	if both, err := netip.ParseAddrPort(text); err == nil && both.Port() != 0 {
		s.addr, s.port = both.Addr().Unmap(), both.Port()
		return nil
	}
	name, port, hasPort := strings.Cut(text, ":")
	if hasPort {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return errBadHost
		}
		s.port = uint16(number)
	}
	host, ok := hostName(name)
	if !ok {
		return errBadHost
	}
	s.host = host
	return nil
}

var errBadHost = errors.New("use an IP address or a name, with or without a port, such as 192.0.2.1:53, [2001:db8::1]:53 or dns.example")

func unbracketed(s string) string {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		return s[1 : len(s)-1]
	}
	return s
}

// hostName returns a host's name (RFC 1123 §2.1, with underscores) in lower
// case and without a trailing dot. One that ends in digits only is a mistyped
// address.
func hostName(s string) (name string, ok bool) {
	name = strings.ToLower(strings.TrimSuffix(s, "."))
	if wire, err := dnswire.WireName(name); err != nil || wire == "\x00" {
		return "", false
	}
	allowed := func(r rune) bool {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.'
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !allowed(r) }) {
		return "", false
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	return name, strings.Trim(last, "0123456789") != ""
}

func (s *server) canonical() string {
	host := s.host
	if host == "" {
		host = s.addr.String()
	}
	authority := netip.AddrPortFrom(s.addr, s.port).String()
	if s.host != "" {
		authority = host + ":" + strconv.Itoa(int(s.port))
	}
	name := s.scheme + "://" + authority + s.path
	if s.encrypted() && s.scheme != "https" && s.verify != host {
		name += "#" + s.verify
	}
	return name
}
