package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// Bounds of an authority.
const (
	// maxPermitted bounds the name constraints of one authority. There are
	// clients that read no certificate beyond 64 KiB.
	maxPermitted = 1000

	maxLifetime     = 30 * 365 * 24 * time.Hour
	maxOrganisation = 64 // characters: RFC 5280 appendix A.1, ub-organization-name
	maxCommonName   = 64 // ub-common-name

	// backdate is how long before now certificates begin, for clients whose
	// clock is slow.
	backdate = time.Hour
)

// Options say what authority [Create] makes. The zero value makes none: what
// an authority may sign for has to be said.
type Options struct {
	// Organisation is whom the certificate names, at most 64 characters.
	Organisation string

	// Permit holds what the authority may sign for: DNS names, each with all
	// names under it, and addresses or networks. Every other name is outside,
	// and so is every address where none is permitted.
	Permit []string

	// Unconstrained lets it sign for every name. Permit must then be empty.
	Unconstrained bool

	// NotBefore and NotAfter bound its life.
	NotBefore, NotAfter time.Time
}

// Pair is an authority as PEM: its certificate and its private key.
type Pair struct {
	Certificate []byte
	Key         []byte // PKCS #8, unencrypted
}

// Check says whether [Load] would take a pair, and returns its certificate.
func (p Pair) Check() (*x509.Certificate, error) {
	i, err := parseIssuer(p)
	if err != nil {
		return nil, err
	}
	return i.certificate, nil
}

// Create makes an authority: an ECDSA P-256 key and a self-signed certificate
// that may sign leaves for servers and no further authorities (RFC 5280
// §4.2.1.9), with critical name constraints. Every error is one of the
// options', but for those of the random source.
func Create(o Options) (Pair, error) {
	template, err := o.template()
	if err != nil {
		return Pair{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make the authority's key: %w", err)
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return Pair{}, fmt.Errorf("make the authority's certificate: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encode the authority's key: %w", err)
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}),
	}, nil
}

func (o *Options) template() (*x509.Certificate, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:                     pkix.Name{Organization: []string{o.Organisation}, CommonName: o.commonName()},
		NotBefore:                   o.NotBefore.UTC(),
		NotAfter:                    o.NotAfter.UTC(),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		PermittedDNSDomainsCritical: true, // RFC 5280 §4.2.1.10 wants it so
	}
	names, networks, err := parsePermits(o.Permit)
	if err != nil {
		return nil, err
	}
	if len(networks) == 0 {
		// Constraints on names say nothing about addresses.
		template.ExcludedIPRanges = allAddresses()
	}
	template.PermittedDNSDomains, template.PermittedIPRanges = names, networks
	return template, nil
}

func (o *Options) check() error {
	switch {
	case strings.TrimSpace(o.Organisation) == "" || len([]rune(o.Organisation)) > maxOrganisation:
		return fmt.Errorf("organisation %q: write a name of 1 to %d characters", o.Organisation, maxOrganisation)
	case o.Unconstrained && len(o.Permit) > 0:
		return errors.New("an authority is either unconstrained or permitted some names: choose one")
	case !o.Unconstrained && len(o.Permit) == 0:
		return errors.New("an authority needs names that it may sign for: permit some, or say that it is unconstrained")
	case !o.NotAfter.After(o.NotBefore):
		return errors.New("the authority ends before it begins: let it end later")
	case o.NotAfter.Sub(o.NotBefore) > maxLifetime:
		return fmt.Errorf("the authority would live for more than %d years: let it end earlier", maxLifetime/(365*24*time.Hour))
	}
	return nil
}

// commonName tells this authority from its successors in lists of those that
// a computer trusts.
func (o *Options) commonName() string {
	day := o.NotBefore.UTC().Format(time.DateOnly)
	if name := "Block pages of " + o.Organisation + " (" + day + ")"; len([]rune(name)) <= maxCommonName {
		return name
	}
	return "Block pages (" + day + ")"
}

// parsePermits sorts what is permitted into names, without those that another
// one holds already, and networks.
func parsePermits(texts []string) ([]string, []*net.IPNet, error) {
	var names []string
	var networks []*net.IPNet
	for _, text := range texts {
		if network, ok := parseNetwork(text); ok {
			networks = append(networks, network)
			continue
		}
		host, err := policy.ParseHost(text)
		if err != nil || host.IsAddr() || !plainName(host.Name()) {
			return nil, nil, fmt.Errorf("permit %q: write a DNS name such as zoom.us, which stands for all names under it too, an address or a network", text)
		}
		names = append(names, host.Name())
	}
	names = withoutCovered(names)
	if len(names)+len(networks) > maxPermitted {
		return nil, nil, fmt.Errorf("permit %d names and networks: at most %d fit in a certificate that every client reads; permit names further up, or make it unconstrained",
			len(names)+len(networks), maxPermitted)
	}
	if len(names) == 0 && len(networks) > 0 {
		// A constraint on addresses alone would leave every name open.
		return nil, nil, errors.New("permit a name too: constraints on addresses leave all names open")
	}
	return names, networks, nil
}

func parseNetwork(text string) (*net.IPNet, bool) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return nil, false
		}
		addr = addr.Unmap()
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if prefix.Masked() != prefix || prefix.Addr().Is4In6() {
		return nil, false
	}
	return ipNet(prefix), true
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func allAddresses() []*net.IPNet {
	return []*net.IPNet{
		ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)),
		ipNet(netip.PrefixFrom(netip.IPv6Unspecified(), 0)),
	}
}

// withoutCovered sorts names and drops those that are, or are under, another.
func withoutCovered(names []string) []string {
	all := newSubtrees(names)
	var kept []string
	for name := range all {
		if _, parent, more := strings.Cut(name, "."); !more || !all.hold(parent) {
			kept = append(kept, name)
		}
	}
	slices.Sort(kept)
	return kept
}

// plainName reports whether a canonical name has letters, digits, hyphens and
// underscores only: others cannot be in a certificate, and an asterisk would
// mean more than itself.
func plainName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return name != ""
}
