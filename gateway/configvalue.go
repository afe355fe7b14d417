package gateway

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/strictyaml"
)

// Readers of single settings. Each gives a func that reads a value into its
// place, or leaves the default there and reports what is wrong.

// section reads a mapping. A section with nothing in it keeps the defaults.
func section(noun string, f fields) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		v.Mapping(strictyaml.Shape{Noun: noun, Fields: f})
	}
}

func line(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		if text, ok := v.Line(); ok {
			*into = text
		}
	}
}

func oneOf(into *string, names ...string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		if name, ok := v.OneOf(names...); ok {
			*into = name
		}
	}
}

func duration(into *time.Duration, least, most time.Duration) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		if d, ok := v.Duration(least, most); ok {
			*into = d
		}
	}
}

func size(into *int64, least, most int64) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		if n, ok := v.Size(least, most); ok {
			*into = n
		}
	}
}

func number(into *int, least, most int) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		if n, ok := v.Int(least, most); ok {
			*into = n
		}
	}
}

func answerMode(into *policy.AnswerMode) func(strictyaml.Value) {
	modes := []struct {
		name string
		mode policy.AnswerMode
	}{
		{"null", policy.AnswerNull},
		{"nxdomain", policy.AnswerNXDOMAIN},
		{"nodata", policy.AnswerNODATA},
		{"refused", policy.AnswerRefused},
		{"page", policy.AnswerPage},
	}
	var names []string
	for _, m := range modes {
		names = append(names, m.name)
	}
	return func(v strictyaml.Value) {
		name, ok := v.OneOf(names...)
		for _, m := range modes {
			if ok && m.name == name {
				*into = m.mode
			}
		}
	}
}

// listens reads the addresses of a door, which needs one at least.
func listens(into *[]string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		var all []string
		clean := v.Items(func(item strictyaml.Value) {
			address, ok := listenAddress(item)
			if ok && slices.Contains(all, address) && !strings.HasSuffix(address, ":0") {
				item.Errorf("address %q is written twice", address)
				return
			}
			if ok {
				all = append(all, address)
			}
		})
		if clean && v.IsList() && len(all) == 0 {
			v.Errorf("%q names no address to listen on: write one, such as [127.0.0.1:0]; both doors are needed", v.Name())
		}
		*into = all
	}
}

// optionalListen reads the address of a listener that may be off.
func optionalListen(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		text, ok := v.OptionalLine()
		if !ok {
			return
		}
		if text == "" {
			*into = ""
			return
		}
		if address, ok := listenAddress(v); ok {
			*into = address
		}
	}
}

// listenAddress reads host:port, where host is an address of this machine,
// localhost, or nothing for every address. A name would depend on a resolver,
// perhaps on the very one that is about to start.
func listenAddress(v strictyaml.Value) (string, bool) {
	text, ok := v.Line()
	if !ok {
		return "", false
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		v.Errorf("address %q is not host:port: write it as 127.0.0.1:53, [::1]:53 or :53", text)
		return "", false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		v.Errorf("port %q in %q is not a number from 0 to 65535", port, text)
		return "", false
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if host != "" {
		if _, err := netip.ParseAddr(host); err != nil {
			v.Errorf("%q in %q is not an address of this machine: write the address, not a name", host, text)
			return "", false
		}
	}
	return net.JoinHostPort(host, port), true
}

// prefixes reads networks. An address alone is a network of one.
func prefixes(into *[]netip.Prefix) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		all := []netip.Prefix{}
		v.Items(func(item strictyaml.Value) {
			text, ok := item.Line()
			if !ok {
				return
			}
			prefix, ok := prefixOf(item, text)
			if ok {
				all = append(all, prefix)
			}
		})
		*into = all
	}
}

func prefixOf(v strictyaml.Value, text string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix.Addr().Is4In6() {
		v.Errorf("%q is not a network: write it as 10.0.0.0/8 or fd00::/8", text)
		return netip.Prefix{}, false
	}
	if masked := prefix.Masked(); masked != prefix {
		v.Errorf("network %q has bits set behind its length: did you mean %q?", text, masked)
		return netip.Prefix{}, false
	}
	return prefix, true
}

func addresses(into *[]netip.Addr) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		v.Items(func(item strictyaml.Value) {
			text, ok := item.Line()
			if !ok {
				return
			}
			addr, err := netip.ParseAddr(text)
			if err != nil || addr.Zone() != "" || addr.IsUnspecified() {
				item.Errorf("%q is not an address that a client can reach", text)
				return
			}
			*into = append(*into, addr.Unmap())
		})
	}
}

// names reads DNS names into canonical form.
func names(into *[]string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		v.Items(func(item strictyaml.Value) {
			text, ok := item.Line()
			if !ok {
				return
			}
			host, err := policy.ParseHost(text)
			if err != nil || host.IsAddr() {
				item.Errorf("%q is not a name: write a DNS name; addresses need not be listed", text)
				return
			}
			*into = append(*into, host.Name())
		})
	}
}

// advertised reads host:port, for other people's configuration.
func advertised(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		text, ok := v.OptionalLine()
		if !ok || text == "" {
			return
		}
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			v.Errorf("%q is not host:port: write it as proxy.corp.example:3128", text)
			return
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			v.Errorf("port %q in %q is not a number from 1 to 65535", port, text)
			return
		}
		parsed, err := policy.ParseHost(host)
		if err != nil {
			v.Errorf("%q in %q is neither a name nor an address", host, text)
			return
		}
		*into = net.JoinHostPort(parsed.String(), port)
	}
}

// upstreams reads resolvers. What the address looks like is the DNS door's to
// say; that a scheme belongs to a later version is said here, with its place.
func upstreams(into *[]string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		var all []string
		v.Items(func(item strictyaml.Value) {
			text, ok := item.Line()
			if !ok {
				return
			}
			if problem := upstreamProblem(text); problem != "" {
				item.Errorf("upstream %q: %s", text, problem)
				return
			}
			all = append(all, text)
		})
		*into = all
	}
}

func upstreamProblem(text string) string {
	const shape = "write it as 192.0.2.53, udp://192.0.2.53:53 or tcp://[2001:db8::53]:53"
	address := text
	if scheme, _, found := strings.Cut(text, "://"); found {
		switch scheme {
		case "udp", "tcp":
		case "tls", "https", "quic":
			return "encrypted upstreams are not in this version; use udp:// or tcp://"
		default:
			return "unknown scheme " + strconv.Quote(scheme) + "; " + shape
		}
		parsed, err := url.Parse(text)
		if err != nil || parsed.Host == "" || strings.Trim(parsed.Path, "/") != "" {
			return shape
		}
		address = parsed.Host
	}
	if host, port, err := net.SplitHostPort(address); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "port " + strconv.Quote(port) + " is not a number from 1 to 65535"
		}
		address = host
	}
	address = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	if _, err := netip.ParseAddr(address); err != nil {
		return "it must be an address, since there is no resolver yet to look a name up with; " + shape
	}
	return ""
}

// plainError is an error without what a reader knows already.
func plainError(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied: make it readable for the user that the gateway runs as"
	default:
		return err.Error()
	}
}
