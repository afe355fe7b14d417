package gateway

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
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

// emptyText reads a text that may be empty, and nothing but a text.
func emptyText(v strictyaml.Value) (string, bool) {
	if !v.IsScalar() {
		return "", false
	}
	text, ok := v.OptionalLine()
	return strings.TrimSpace(text), ok
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

func boolean(into *bool) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		if b, ok := v.Bool(); ok {
			*into = b
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

// believedFrom reads the networks whose word on who a client is counts.
func believedFrom(into *[]netip.Prefix) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		prefixes(into)(v)
		for _, p := range *into {
			if p.Bits() == 0 {
				v.Warnf("%q holds %s: any client could then say that it is another; write the networks of your own proxies or forwarders", v.Name(), p)
			}
		}
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
