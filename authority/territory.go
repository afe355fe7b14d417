package authority

import (
	"crypto/x509"
	"net"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/policy"
)

// territory is what the name constraints of one certificate let it sign for
// (RFC 5280 §4.2.1.10).
type territory struct {
	permitted subtrees // empty: every name that is not excluded
	excluded  subtrees

	permittedNets []*net.IPNet // empty: every address that is not excluded
	excludedNets  []*net.IPNet
}

// territoryOf reads the constraints of a certificate. Those on other things
// than names and addresses do not concern leaves, which have no others.
func territoryOf(c *x509.Certificate) territory {
	return territory{
		permitted:     newSubtrees(c.PermittedDNSDomains),
		excluded:      newSubtrees(c.ExcludedDNSDomains),
		permittedNets: c.PermittedIPRanges,
		excludedNets:  c.ExcludedIPRanges,
	}
}

// holds reports whether a leaf for host would be good.
func (t *territory) holds(host policy.Host) bool {
	if host.IsAddr() {
		ip := net.IP(host.Addr().AsSlice())
		contains := func(n *net.IPNet) bool { return n.Contains(ip) }
		if slices.ContainsFunc(t.excludedNets, contains) {
			return false
		}
		return len(t.permittedNets) == 0 || slices.ContainsFunc(t.permittedNets, contains)
	}
	if t.excluded.hold(host.Name()) {
		return false
	}
	return len(t.permitted) == 0 || t.permitted.hold(host.Name())
}

// subtrees are names that stand for themselves and for everything under them.
// The value is true where a name does not stand for itself: RFC 5280 has no
// such form for DNS names, but verifiers know it, written with a leading dot.
type subtrees map[string]bool

func newSubtrees(constraints []string) subtrees {
	s := make(subtrees, len(constraints))
	for _, text := range constraints {
		name := strings.ToLower(strings.TrimPrefix(text, "."))
		below := name != text && strings.HasPrefix(text, ".")
		if already, known := s[name]; known {
			below = below && already
		}
		s[name] = below
	}
	return s
}

// hold reports whether one of the subtrees holds name. It walks the labels, so
// that a thousand constraints cost no more than one.
func (s subtrees) hold(name string) bool {
	if len(s) == 0 {
		return false
	}
	if below, known := s[name]; known && !below {
		return true
	}
	for rest := name; ; {
		_, parent, more := strings.Cut(rest, ".")
		if !more {
			_, all := s[""] // an empty constraint is the root of all names
			return all
		}
		if _, known := s[parent]; known {
			return true
		}
		rest = parent
	}
}
