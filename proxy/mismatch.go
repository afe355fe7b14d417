package proxy

import (
	"context"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// mismatch is a way in which what a connection says of its destination does
// not fit what it asked for. The values are those of the kind label.
//
// Every name is judged by the policy in any case. A mismatch is about what the
// policy has nothing against: it may be a way round it all the same, because
// what the origin goes by is not what was asked for.
type mismatch string

const (
	mismatchServerName mismatch = "sni"      // TLS names another host than the CONNECT
	mismatchHost       mismatch = "host"     // so does the Host field of a plain request
	mismatchAddress    mismatch = "address"  // the name does not lead to the address that was asked for
	mismatchECH        mismatch = "ech"      // the server name is a front, the real one is encrypted
	mismatchProtocol   mismatch = "protocol" // a port for TLS, and no TLS
)

// mismatches are all kinds, for metrics.
func mismatches() []mismatch {
	return []mismatch{mismatchServerName, mismatchHost, mismatchAddress, mismatchECH, mismatchProtocol}
}

// isOuterName reports whether operators show a name in place of the one that
// Encrypted Client Hello hides (RFC 9849 §4, public_name), and serve nothing
// else under it: then the name behind it is another one for certain.
func isOuterName(host policy.Host) bool {
	switch host.Name() {
	case "cloudflare-ech.com", "cover.defo.ie", "public.tls-ech.dev":
		return true
	default:
		return false
	}
}

// mismatched counts a mismatch and says what becomes of it. named is what the
// refusal is about.
func (x *exchange) mismatched(kind mismatch, named policy.Host) (refusal policy.Verdict, refused bool) {
	s := x.server
	action := s.config.Mismatch.action(kind)
	s.metrics.mismatches.WithLabelValues(string(kind), string(action)).Inc()
	if action == MismatchAllow {
		return policy.Verdict{}, false
	}
	s.dependencies.Log.Debug("a connection contradicts itself", zap.String("decision", x.id), zap.String("kind", string(kind)),
		zap.Stringer("host", x.request.Host), zap.Stringer("named", named), zap.String("action", string(action)))
	if action != MismatchBlock {
		return policy.Verdict{}, false
	}
	return contradiction(x.verdict, named, kind), true
}

// consistent is mismatched for a request that can still be answered: it lets it
// go on, or has refused it.
func (x *exchange) consistent(kind mismatch, named policy.Host) bool {
	refusal, refused := x.mismatched(kind, named)
	if !refused {
		return true
	}
	x.verdict = refusal
	x.refuse()
	return false
}

// plainlyConsistent looks for what contradicts the URI of a plain request.
func (x *exchange) plainlyConsistent() bool {
	if x.server.config.Mismatch.expectsTLS(x.request.Port) && !x.consistent(mismatchProtocol, x.request.Host) {
		return false
	}
	for _, claimed := range x.request.Claimed {
		if !x.consistent(mismatchHost, claimed) {
			return false
		}
	}
	return true
}

// misdirected is what kind of mismatch it is that a redirected connection
// names a host that does not lead to where it was going.
func (x *exchange) misdirected() mismatch {
	if x.hidden {
		return mismatchECH
	}
	return mismatchAddress
}

// contradicted looks for what contradicts the request in how a tunnel begins:
// hosts are named there. Those that were claimed before have been counted.
func (c *carrier) contradicted(hosts, before []policy.Host) (refusal policy.Verdict, refused bool) {
	x := c.exchange
	if c.hello.clear != nil && len(c.hello.raw) > 0 && x.server.config.Mismatch.expectsTLS(x.request.Port) {
		if refusal, refused = x.mismatched(mismatchProtocol, x.request.Host); refused {
			return refusal, true
		}
	}
	for _, named := range hosts {
		if slices.Contains(before, named) {
			continue
		}
		kind, differs := x.compare(named, &c.hello)
		if !differs {
			continue
		}
		if refusal, refused = x.mismatched(kind, named); refused {
			return refusal, true
		}
	}
	return policy.Verdict{}, false
}

// compare holds what a hello names against what was asked for. There is no
// tolerance for names that are alike: what the origin serves under one of them
// says nothing of the other.
func (x *exchange) compare(named policy.Host, hello *helloReader) (kind mismatch, differs bool) {
	target := x.request.Host
	byAddress := target.IsAddr() && !named.IsAddr()
	switch {
	case hello.hidden && isOuterName(named):
		return mismatchECH, true
	case named == target:
		return "", false // which a hello that hides nothing, and only pretends to, is like
	case byAddress && x.server.leadsThere(named, target.Addr()):
		return "", false
	case hello.hidden:
		return mismatchECH, true
	case byAddress:
		return mismatchAddress, true
	case hello.clear == nil:
		return mismatchServerName, true
	default:
		return mismatchHost, true
	}
}

// leadsThere reports whether a name that came in a tunnel to an address leads
// to it, as far as anybody minds: names that only a parent can resolve are
// believed, and where nothing would become of it nobody is asked.
func (s *Server) leadsThere(name policy.Host, address netip.Addr) bool {
	if s.config.Mismatch.Address == MismatchAllow || !s.dialer.NeedsAddrs(name.Name()) {
		return true
	}
	ctx, cancel := context.WithTimeout(s.base, s.config.Timeouts.Dial)
	defer cancel()
	resolution, err := s.dependencies.Resolve(ctx, name.Name())
	return err == nil && leadsTo(resolution, address)
}
