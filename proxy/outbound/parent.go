package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
)

// parent is one parent proxy. Its methods are safe for concurrent use.
type parent struct {
	name         string
	endpoint     Endpoint
	credentials  Credentials
	basic        string      // Proxy-Authorization; empty: none
	tls          *tls.Config // nil: no TLS
	findsNames   bool
	sendsAddress bool
	poolURL      *url.URL // stands for the parent wherever net/http looks

	dialer *Dialer
	health health

	mu       sync.Mutex
	addrs    []netip.Addr // of the endpoint's name
	fresh    time.Time    // until when they need not be looked up again
	complain time.Time    // after which credentials may be complained of again
}

// Bounds of what is known of a parent.
const (
	maxParentAddrs = 16
	addrsTime      = 10 * time.Second // how long its addresses are taken for granted
	complainEvery  = time.Minute
	maxAuthorities = 4 << 20 // bytes of a file of certificates
)

// newParent reads the files that a parent's settings name.
func newParent(c Parent, d *Dialer) (*parent, error) {
	p := &parent{name: c.Name, endpoint: c.Endpoint, findsNames: c.FindsNames, sendsAddress: c.sendsAddress(), dialer: d}
	p.poolURL = &url.URL{Scheme: "http", Host: net.JoinHostPort(c.Name, "1")}
	p.health.changed = p.turned
	switch {
	case c.Name == Direct || !IsParentName(c.Name):
		return nil, fmt.Errorf("outbound: parent %q: give it another name, of letters, digits, hyphens, dots and underscores", c.Name)
	case c.FindsNames && p.sendsAddress:
		return nil, fmt.Errorf("outbound: parent %q cannot look names up and be sent addresses", c.Name)
	case c.SendAddress && c.Endpoint.isSOCKS():
		return nil, fmt.Errorf("outbound: parent %q: what SOCKS is sent is said by the scheme, socks5 or socks5h", c.Name)
	case c.CAFile != "" && c.Endpoint.Scheme != SchemeHTTPS:
		return nil, fmt.Errorf("outbound: parent %q: authorities without TLS: use https", c.Name)
	}
	if c.CredentialsFile != "" {
		var err error
		if p.credentials, err = ReadCredentials(c.CredentialsFile, c.Endpoint.Scheme); err != nil {
			return nil, fmt.Errorf("outbound: parent %q: credentials: %w", c.Name, err)
		}
		p.basic = p.credentials.basic()
	}
	if c.Endpoint.Scheme == SchemeHTTPS {
		authorities, err := ReadAuthorities(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("outbound: parent %q: authorities: %w", c.Name, err)
		}
		p.tls = &tls.Config{
			ServerName:         c.Endpoint.Host,
			RootCAs:            authorities,
			MinVersion:         tls.VersionTLS12,
			NextProtos:         []string{"http/1.1"},
			ClientSessionCache: tls.NewLRUClientSessionCache(0),
		}
	}
	return p, nil
}

// IsParentName reports whether a parent may have a name: up to 63 letters,
// digits, hyphens, dots and underscores, the first one a letter or a digit.
func IsParentName(name string) bool {
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '.' && c != '_') {
			return false
		}
	}
	return name != "" && len(name) <= 63
}

// ReadAuthorities reads a PEM file of certificates by which a parent is judged.
// It is nil, which is the system's own, where path is empty.
func ReadAuthorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxAuthorities {
		return nil, fmt.Errorf("%q is larger than %d bytes: name the file of one authority", path, maxAuthorities)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%q holds no certificate: write them in PEM form", path)
	}
	return pool, nil
}

// tunnel reaches a destination through the parent.
func (p *parent) tunnel(ctx context.Context, t Target, deadline time.Time) (net.Conn, netip.AddrPort, error) {
	hosts := []string{t.Host}
	if p.sendsAddress {
		hosts = hosts[:0]
		for _, at := range p.dialer.order(t.Addrs, t.Port) {
			hosts = append(hosts, at.Addr().String())
		}
		if len(hosts) == 0 {
			return nil, netip.AddrPort{}, fmt.Errorf("parent proxy %q is sent addresses, and there is none", p.name)
		}
	}
	var failed []error
	for i, host := range hosts {
		conn, remote, err := p.tunnelTo(ctx, host, t, share(deadline, len(hosts)-i))
		var said *ParentError
		if err == nil || !errors.As(err, &said) || said.final() || said.kind == kindBroken {
			return conn, remote, err
		}
		failed = append(failed, err) // another address may do
	}
	return nil, netip.AddrPort{}, errors.Join(failed...)
}

// tunnelTo is tunnel, for one way of writing the destination.
func (p *parent) tunnelTo(ctx context.Context, host string, t Target, deadline time.Time) (net.Conn, netip.AddrPort, error) {
	conn, remote, err := p.reach(ctx, deadline)
	if err != nil {
		return nil, remote, err
	}
	err = within(ctx, conn, deadline, func() error {
		if p.endpoint.isSOCKS() {
			return p.askSOCKS(conn, host, t.Port)
		}
		return p.askConnect(conn, net.JoinHostPort(host, strconv.Itoa(int(t.Port))), t.Via)
	})
	if err != nil {
		_ = conn.Close()
		p.complainOf(err)
		if said := (*ParentError)(nil); !errors.As(err, &said) {
			err = fmt.Errorf("parent proxy %q: %w", p.name, err)
		}
		return nil, remote, err
	}
	return conn, remote, nil
}

// reach connects to the parent itself. Whatever goes wrong is the parent's
// fault, unless ctx ends.
func (p *parent) reach(ctx context.Context, deadline time.Time) (net.Conn, netip.AddrPort, error) {
	conn, err := p.connect(ctx, deadline)
	if err == nil && p.tls == nil {
		return conn, remoteOf(conn), nil
	}
	var remote netip.AddrPort
	if err == nil {
		remote = remoteOf(conn)
		secure := tls.Client(conn, p.tls)
		err = within(ctx, conn, deadline, func() error { return secure.HandshakeContext(ctx) })
		if err == nil {
			return secure, remote, nil
		}
		_ = conn.Close()
		err = explainTLS(err)
	}
	if ctx.Err() != nil {
		return nil, remote, fmt.Errorf("parent proxy %q: reach it: %w", p.name, ctx.Err())
	}
	return nil, remote, p.broken(fmt.Errorf("reach it at %s: %w", p.endpoint, err))
}

// connect connects to one of the parent's addresses.
func (p *parent) connect(ctx context.Context, deadline time.Time) (*net.TCPConn, error) {
	addresses, err := p.addresses(ctx, deadline)
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
		if p.dialer.deps.IsSelf(a, p.endpoint.Port) {
			return nil, fmt.Errorf("%s is this gateway itself, and would go round in circles: correct the parent's url", netip.AddrPortFrom(a, p.endpoint.Port))
		}
	}
	return p.dialer.connect(ctx, addresses, p.endpoint.Port, deadline)
}

// addresses are those of the parent, which are looked up now and then. Where
// that fails the last ones have to do.
func (p *parent) addresses(ctx context.Context, deadline time.Time) ([]netip.Addr, error) {
	if a, ok := p.endpoint.address(); ok {
		return []netip.Addr{a}, nil
	}
	p.mu.Lock()
	known, fresh := p.addrs, time.Now().Before(p.fresh)
	p.mu.Unlock()
	if fresh {
		return known, nil
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	found, err := p.dialer.deps.Resolve(ctx, p.endpoint.Host)
	if err == nil && len(found) == 0 {
		err = errors.New("the name has no address")
	}
	if err != nil && len(known) > 0 && ctx.Err() == nil {
		p.dialer.deps.Log.Debug("parent's name not resolved: its last addresses have to do", zap.String("parent", p.name), zap.Error(err))
		return known, nil
	}
	if err != nil {
		return nil, fmt.Errorf("resolve %q: %w", p.endpoint.Host, err)
	}
	found = found[:min(len(found), maxParentAddrs)]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addrs, p.fresh = found, time.Now().Add(addrsTime)
	return found, nil
}

// explainTLS adds what an admin can do.
func explainTLS(err error) error {
	var unknown x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: name the file of its authority in ca", err)
	case errors.As(err, &record):
		return fmt.Errorf("%w: if it speaks plain HTTP, write http:// in its url", err)
	default:
		return err
	}
}

// complainOf tells the admin that the parent does not take our credentials, now
// and then.
func (p *parent) complainOf(err error) {
	var said *ParentError
	if !errors.As(err, &said) || said.kind != kindCredentials {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Before(p.complain) {
		return
	}
	p.complain = now.Add(complainEvery)
	remedy := "give it credentials, in a file of one line, user:password"
	if !p.credentials.isZero() {
		remedy = "correct its credentials file, and restart"
	}
	p.dialer.deps.Log.Error("parent proxy does not let us in: what goes through it fails",
		zap.String("parent", p.name), zap.Stringer("url", p.endpoint), zap.String("answer", said.Answer), zap.String("remedy", remedy))
}

// turned tells that the parent works, or does not.
func (p *parent) turned(up bool, rest time.Duration, why error) {
	p.dialer.metrics.turned(p.name, up)
	if up {
		p.dialer.deps.Log.Info("parent proxy works again", zap.String("parent", p.name))
		return
	}
	p.dialer.deps.Log.Warn("parent proxy does not work: it is left alone for a while",
		zap.String("parent", p.name), zap.Duration("while", rest), zap.Error(why))
}

// within runs a conversation on a connection that ends in time, and with ctx.
func within(ctx context.Context, conn net.Conn, deadline time.Time, talk func() error) error {
	past := time.Unix(1, 0)
	_ = conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	err := talk()
	if !stop() {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// share is when the first of n attempts has to be done, so that all have the
// same time.
func share(deadline time.Time, n int) time.Time {
	now := time.Now()
	return now.Add(deadline.Sub(now) / time.Duration(n))
}
