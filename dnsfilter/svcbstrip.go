package dnsfilter

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// stripService takes out of service bindings (HTTPS and SVCB records, RFC 9460)
// what would hide a connection from the proxy door: with ech, the keys of
// Encrypted Client Hello (RFC 9848), without which a client shows the server's
// name; with h3, the offer of HTTP/3, which passes no CONNECT. Nothing else of
// a record is lost: address hints, ports and the other protocols stay.
//
// Signatures over a changed set are dropped, for they no longer verify; whoever
// relays a changed answer must not call it authenticated either. The given
// records are not touched: changed ones are copies. Where nothing changed,
// answers itself is returned.
func stripService(answers []dns.RR, ech, h3 bool) (stripped []dns.RR, changed bool) {
	if !ech && !h3 {
		return answers, false
	}
	for i, rr := range answers {
		again, differs := stripRecord(rr, ech, h3)
		if !differs {
			continue
		}
		if !changed {
			stripped, changed = slices.Clone(answers), true
		}
		stripped[i] = again
	}
	if !changed {
		return answers, false
	}
	return slices.DeleteFunc(stripped, func(rr dns.RR) bool {
		signature, ok := rr.(*dns.RRSIG)
		return ok && signsChanged(signature, answers, ech, h3)
	}), true
}

// stripRecord returns a copy of a record without what is stripped, if there is
// any of it.
func stripRecord(rr dns.RR, ech, h3 bool) (again dns.RR, changed bool) {
	service := serviceOf(rr)
	if service == nil || !strippable(service, ech, h3) {
		return rr, false
	}
	again = dns.Copy(rr)
	service = serviceOf(again)
	service.Value = stripParameters(service.Value, ech, h3)
	return again, true
}

// serviceOf returns what HTTPS and SVCB records have in common; nil for others.
func serviceOf(rr dns.RR) *dns.SVCB {
	switch record := rr.(type) {
	case *dns.SVCB:
		return record
	case *dns.HTTPS:
		return &record.SVCB
	default:
		return nil
	}
}

func strippable(service *dns.SVCB, ech, h3 bool) bool {
	for _, parameter := range service.Value {
		switch parameter.Key() {
		case dns.SVCB_ECHCONFIG:
			if ech {
				return true
			}
		case dns.SVCB_ALPN:
			if alpn, ok := parameter.(*dns.SVCBAlpn); h3 && ok && slices.ContainsFunc(alpn.Alpn, isHTTP3) {
				return true
			}
		}
	}
	return false
}

// isHTTP3 reports whether a protocol is HTTP/3 or one of its drafts (h3-29).
func isHTTP3(protocol string) bool {
	return protocol == "h3" || strings.HasPrefix(protocol, "h3-")
}

// stripParameters works on a copy of a record's parameters. A record that
// offered nothing but HTTP/3 then offers what its scheme offers by default
// (RFC 9460 §7.1.2): no-default-alpn without alpn would make it malformed. Keys
// that are gone must not stay mandatory, or clients would have to pass the
// record over (§8).
func stripParameters(values []dns.SVCBKeyValue, ech, h3 bool) []dns.SVCBKeyValue {
	gone := make(map[dns.SVCBKey]bool)
	for _, parameter := range values {
		switch p := parameter.(type) {
		case *dns.SVCBECHConfig:
			gone[dns.SVCB_ECHCONFIG] = ech
		case *dns.SVCBAlpn:
			if !h3 {
				continue
			}
			offered := len(p.Alpn)
			p.Alpn = slices.DeleteFunc(p.Alpn, isHTTP3)
			if offered > 0 && len(p.Alpn) == 0 {
				gone[dns.SVCB_ALPN], gone[dns.SVCB_NO_DEFAULT_ALPN] = true, true
			}
		}
	}
	for _, parameter := range values {
		if mandatory, ok := parameter.(*dns.SVCBMandatory); ok {
			mandatory.Code = slices.DeleteFunc(mandatory.Code, func(key dns.SVCBKey) bool { return gone[key] })
			gone[dns.SVCB_MANDATORY] = len(mandatory.Code) == 0
		}
	}
	return slices.DeleteFunc(values, func(parameter dns.SVCBKeyValue) bool { return gone[parameter.Key()] })
}

// signsChanged reports whether a signature is of a set in which a record
// changes.
func signsChanged(signature *dns.RRSIG, answers []dns.RR, ech, h3 bool) bool {
	return slices.ContainsFunc(answers, func(rr dns.RR) bool {
		h := rr.Header()
		if h.Rrtype != signature.TypeCovered || h.Class != signature.Hdr.Class || !strings.EqualFold(h.Name, signature.Hdr.Name) {
			return false
		}
		service := serviceOf(rr)
		return service != nil && strippable(service, ech, h3)
	})
}
