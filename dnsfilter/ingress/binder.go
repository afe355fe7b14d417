package ingress

import (
	"context"
	"fmt"
	"net"

	"github.com/sallyport/sallyport/servercert"
)

// binder binds the listeners of a Set. What it has bound is the Set's, which
// closes it when something fails.
type binder struct {
	set          *Set
	config       Config
	dependencies Dependencies
}

func (b *binder) bind(ctx context.Context) error {
	for _, address := range b.config.Listen {
		if err := b.bindPlain(ctx, address); err != nil {
			return &ListenError{Transport: UDP, Address: address, Err: err}
		}
	}
	encrypted := []struct {
		transport Transport
		endpoint  Endpoint
		bind      func(ctx context.Context, address string, c *servercert.Store) error
	}{
		{TLS, b.config.TLS, b.bindTLS},
		{HTTPS, b.config.HTTPS, b.bindHTTPS},
		{QUIC, b.config.QUIC, b.bindQUIC},
	}
	for _, e := range encrypted {
		if len(e.endpoint.Listen) == 0 {
			continue
		}
		files := servercert.Files{Certificate: e.endpoint.Certificate, Key: e.endpoint.Key, ClientCA: e.endpoint.ClientCA}
		certificates, err := servercert.Load(files, b.dependencies.Log)
		if err != nil {
			return &ListenError{Transport: e.transport, Err: err}
		}
		b.set.certificates[e.transport] = certificates
		for _, address := range e.endpoint.Listen {
			if err := e.bind(ctx, address, certificates); err != nil {
				return &ListenError{Transport: e.transport, Address: address, Err: err}
			}
		}
	}
	return nil
}

// add gives the Set what has been bound.
func (b *binder) add(e endpoint) {
	b.set.endpoints = append(b.set.endpoints, e)
	b.set.addresses = append(b.set.addresses, e.Address())
}

// bindPlain binds UDP and TCP to the same port.
func (b *binder) bindPlain(ctx context.Context, address string) error {
	udp, tcp, err := bindPair(address,
		func(address string) (*UDPListener, error) {
			return ListenUDP(ctx, address, UDPConfig{
				Sockets:   b.config.UDPSockets,
				Workers:   b.set.workers,
				ProxyFrom: b.config.ProxyFrom,
				Shed:      b.dependencies.Shed,
				From:      b.dependencies.Sockets,
			})
		},
		func(address string) (*streams, error) {
			return listenStreams(ctx, address, b.set.shared, nil)
		})
	if err != nil {
		return err
	}
	b.set.udp = append(b.set.udp, udp)
	b.add(udp)
	b.add(tcp)
	return nil
}

func (b *binder) bindTLS(ctx context.Context, address string, c *servercert.Store) error {
	in, err := listenStreams(ctx, address, b.set.shared, c.ServerConfig("dot"))
	if err != nil {
		return err
	}
	b.add(in)
	return nil
}

func (b *binder) bindQUIC(ctx context.Context, address string, c *servercert.Store) error {
	in, err := listenDoQ(ctx, address, b.set.shared, c.ServerConfig("doq"))
	if err != nil {
		return err
	}
	b.add(in)
	return nil
}

// bindHTTPS binds HTTP/2, and HTTP/3 to the same port where it is wanted.
func (b *binder) bindHTTPS(ctx context.Context, address string, c *servercert.Store) error {
	handler := func() *dohHandler {
		return &dohHandler{shared: b.set.shared, path: b.config.Path, pathPeer: b.dependencies.PathPeer}
	}
	bindWeb := func(address string) (*web, error) {
		return listenWeb(ctx, address, handler(), c.ServerConfig("h2", "http/1.1"), b.dependencies.Log)
	}
	if !b.config.HTTP3 {
		in, err := bindWeb(address)
		if err != nil {
			return err
		}
		b.add(in)
		return nil
	}
	in, in3, err := bindPair(address, bindWeb, func(address string) (endpoint, error) {
		return listenHTTP3(ctx, address, handler(), c)
	})
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(in.Address().Addr)
	if err == nil {
		in.handler.altSvc = fmt.Sprintf(`h3=":%s"; ma=%d`, port, altSvcSeconds)
	}
	b.add(in)
	b.set.endpoints = append(b.set.endpoints, in3)
	return err
}

// altSvcSeconds is how long clients may remember that there is HTTP/3 (RFC
// 7838 §3.1).
const altSvcSeconds = 24 * 60 * 60

// pairTries is how many ports are tried until one is free for both protocols.
const pairTries = 32

// bindPair binds the two halves of an address. Where the kernel chooses the
// port, it may choose one for the first that is taken for the second.
func bindPair[A, B endpoint](address string, first func(string) (A, error), second func(string) (B, error)) (a A, b B, err error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return a, b, fmt.Errorf("%w: use an address with a port, such as 127.0.0.1:53", err)
	}
	for range pairTries {
		a, err = first(address)
		if err != nil {
			return a, b, err
		}
		_, bound, _ := net.SplitHostPort(a.Address().Addr) // the kernel's own words
		b, err = second(withPort(address, bound))
		if err == nil {
			return a, b, nil
		}
		a.Close()
		if port != "0" {
			break
		}
	}
	return a, b, err
}
