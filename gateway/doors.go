package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/dnsfilter"
	"github.com/sallyport/sallyport/identity"
	"github.com/sallyport/sallyport/proxy"
)

// resolvConf is where the system says which resolvers it uses.
const resolvConf = "/etc/resolv.conf"

// libcResolver is what resolv.conf(5) says is used where no resolver is named.
const libcResolver = "udp://127.0.0.1:53"

// newDoors makes both doors around the one engine. They open in listen.
func (g *Gateway) newDoors() error {
	var err error
	if g.dns, err = g.newDNSDoor(); err != nil {
		return err
	}
	if g.authority, err = g.newAuthority(); err != nil {
		return errors.Join(err, g.dns.Shutdown(context.Background()))
	}
	p := g.config.Proxy
	g.proxy, err = proxy.New(p.Limits.apply(proxy.Config{
		Listen:          p.Listen,
		SOCKS:           p.SOCKS,
		TLS:             proxy.TLS{Listen: p.TLS.Listen, Certificate: p.TLS.Certificate, Key: p.TLS.Key, ClientCA: p.TLS.ClientCA},
		Transparent:     proxy.Transparent{Listen: p.Transparent.Listen, TProxy: p.Transparent.TProxy},
		Clients:         p.Clients,
		ProxyFrom:       p.ProxyFrom,
		DenyNetworks:    proxy.DenyNetworks{None: p.DenyNone, Prefixes: p.DenyNetworks},
		Outbound:        p.Outbound(),
		Mismatch:        p.Mismatch,
		Timeouts:        proxy.Timeouts{Dial: p.Dial, Header: p.Header, FirstByte: p.FirstByte, Peek: p.Peek, Idle: p.Idle},
		CanAuthenticate: p.UsersFile != "",
		InterceptAll:    p.Interception.Clients == "all",
		MaxConns:        p.MaxConns,
		MaxTunnels:      p.MaxTunnels,
	}), proxy.Dependencies{
		Decider:        g.engine,
		Identify:       g.identity.ByCredentials,
		IdentifyPeer:   g.identifyCertificate,
		BadCredentials: func(err error) bool { return errors.Is(err, identity.ErrCredentials) },
		Resolve:        g.resolve,
		NamesFault:     dnsfilter.IsNamesFault,
		NoAddress:      func(err error) bool { return errors.Is(err, dnsfilter.ErrNoAddress) },
		Record:         g.audit.Record,
		RecordEnd:      g.audit.RecordEnd,
		Listen:         g.deps.Sockets.Listen,
		Access:         g.access.sink(),
		Continue:       g.coach.link,
		Portal:         g.portalForProxy(),
		Intercept:      g.interceptor(),
		Registerer:     g.registry,
		Log:            g.deps.Log.Named("proxy"),
		Now:            g.deps.Now,
		Self:           func() []netip.AddrPort { return *g.self.Load() },
	})
	if err != nil {
		return fmt.Errorf("set up the proxy door: %w", errors.Join(g.proxyListenError(err), g.dns.Shutdown(context.Background())))
	}
	return nil
}

// resolve lets the proxy door look names up as the DNS door does, so that both
// judge the same targets and addresses.
func (g *Gateway) resolve(ctx context.Context, name string) (proxy.Resolution, error) {
	r, err := g.dns.Resolve(ctx, name)
	return proxy.Resolution{Addrs: r.Addrs, Facts: r.Facts}, err
}

// upstreams are the configured resolvers, or the system's.
func (g *Gateway) upstreams(resolvConf string) []string {
	if len(g.config.DNS.Upstreams) > 0 {
		return g.config.DNS.Upstreams
	}
	system, err := dnsfilter.SystemUpstreams(resolvConf)
	if err != nil {
		// Not a reason to stop: refusals need no upstream.
		g.deps.Log.Warn("no resolver found: names that the policy allows will not resolve until dns.upstreams names one",
			zap.String("tried", libcResolver), zap.Error(err))
		return []string{libcResolver}
	}
	return system
}

// pageAddresses are what a name refused with the page is answered with: the
// configured addresses, or where the portal listens. For a portal on every
// address of the machine that is the first of each family that others reach.
func pageAddresses(c PortalConfig, interfaces func() ([]net.Addr, error)) []netip.Addr {
	if len(c.Addresses) > 0 || c.Listen == "" {
		return c.Addresses
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil
	}
	if addr, err := netip.ParseAddr(host); err == nil && !addr.IsUnspecified() {
		return []netip.Addr{addr.Unmap().WithZone("")}
	}
	all, err := interfaces()
	if err != nil {
		return nil
	}
	return firstOfEachFamily(all, host == "0.0.0.0")
}

func firstOfEachFamily(all []net.Addr, only4 bool) []netip.Addr {
	var four, six netip.Addr
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		addr := prefix.Addr().Unmap()
		switch {
		case !addr.IsGlobalUnicast():
		case addr.Is4() && !four.IsValid():
			four = addr
		case addr.Is6() && !six.IsValid() && !only4:
			six = addr
		}
	}
	var found []netip.Addr
	for _, addr := range []netip.Addr{four, six} {
		if addr.IsValid() {
			found = append(found, addr)
		}
	}
	return found
}

// listen binds everything, or nothing.
func (g *Gateway) listen(ctx context.Context) error {
	if err := g.reserve(ctx); err != nil {
		return err
	}
	if err := g.dns.Listen(ctx); err != nil {
		return g.dnsListenError(err)
	}
	if err := g.admin.listen(ctx); err != nil {
		return g.listenError("admin.listen", err)
	}
	if err := g.portal.listen(ctx); err != nil {
		return g.listenError("portal.listen", err)
	}
	g.storeSelf(g.listening())
	// Last: it serves at once, and must not lead to any of the others.
	if err := g.proxy.Listen(ctx); err != nil {
		return g.proxyListenError(err)
	}
	if err := g.settleSockets(); err != nil {
		return err
	}
	bound := g.listening()
	g.storeSelf(bound)
	g.bound.Store(&bound)
	return nil
}

// listening lists what is bound by now.
func (g *Gateway) listening() []Address {
	var bound []Address
	for _, a := range g.dns.Addrs() {
		bound = append(bound, Address{Name: a.Name, Addr: a.Addr})
	}
	for _, a := range g.proxy.Addrs() {
		bound = append(bound, Address{Name: a.Name, Addr: a.Addr})
	}
	bound = append(bound, g.admin.addresses()...)
	return append(bound, g.portal.addresses()...)
}

// storeSelf tells the proxy door what it must never dial.
func (g *Gateway) storeSelf(bound []Address) {
	var self []netip.AddrPort
	for _, a := range bound {
		if ap, err := netip.ParseAddrPort(a.Addr); err == nil {
			self = append(self, ap)
		}
	}
	g.self.Store(&self)
}

// dnsListenError is listenError for the DNS door, which has a listener for each
// transport. Other reasons for not opening say themselves what to do.
func (g *Gateway) dnsListenError(err error) error {
	var failed *dnsfilter.ListenError
	if !errors.As(err, &failed) {
		return err
	}
	setting := "dns"
	if failed.Transport.Encrypted() {
		setting += "." + failed.Transport.String()
	}
	if failed.Address == "" {
		return fmt.Errorf("%w: mend that file, or name another under %s in %s", err, setting, g.configName())
	}
	return g.listenError(setting+".listen", err)
}

// proxyListenError is listenError for the proxy door, which has a listener for
// each way in which clients come.
func (g *Gateway) proxyListenError(err error) error {
	var failed *proxy.ListenError
	if !errors.As(err, &failed) {
		return err
	}
	setting := "proxy.listen"
	if kind := strings.TrimPrefix(failed.Name, "proxy "); kind != "http" {
		setting = "proxy." + kind + ".listen"
	}
	if failed.Address == "" {
		return fmt.Errorf("%w: mend that file, or name another under %s in %s", err, strings.TrimSuffix(setting, ".listen"), g.configName())
	}
	if failed.Name == transparentListener && g.config.Proxy.Transparent.TProxy && errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: mode tproxy needs root or CAP_NET_ADMIN: grant it, or set proxy.transparent.mode to redirect in %s", err, g.configName())
	}
	return g.listenError(setting, err)
}

// configName is the configuration as an administrator is told of it.
func (g *Gateway) configName() string { return cmp.Or(g.config.Path, "the configuration") }

// listenError adds to a failed binding what the administrator can do.
func (g *Gateway) listenError(setting string, err error) error {
	remedy := fmt.Sprintf("change %s in %s", setting, g.configName())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = fmt.Sprintf("another program, perhaps another sallyport, has it: stop that, or %s", remedy)
	case errors.Is(err, os.ErrPermission):
		remedy = fmt.Sprintf("ports below 1024 need root or CAP_NET_BIND_SERVICE: grant it, or %s", remedy)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		remedy = fmt.Sprintf("this machine has no such address: %s", remedy)
	}
	return fmt.Errorf("%w: %s", err, remedy)
}

// recheck re-decides every open tunnel.
func (g *Gateway) recheck(reason string) (checked, closed int) {
	result := g.proxy.Recheck()
	if result.Closed > 0 {
		g.deps.Log.Info("tunnels closed by policy", zap.String("reason", reason),
			zap.Int("checked", result.Checked), zap.Int("closed", result.Closed))
	}
	return result.Checked, result.Closed
}

func (g *Gateway) nextEdge(after time.Time) time.Time {
	return g.engine.Program().NextEdge(after)
}

func (g *Gateway) reopenLogs() {
	if err := g.audit.Reopen(); err != nil {
		g.deps.Log.Error("decision log not opened again: it goes on where it was", zap.Error(err))
	}
	g.access.reopen(g.deps.Log)
}

func (g *Gateway) configChanged(changed bool) {
	g.restartNeeded.Store(changed)
	needed := 0.0
	if changed {
		needed = 1
	}
	g.metrics.restartNeeded.Set(needed)
}
