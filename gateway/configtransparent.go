package gateway

import (
	"runtime"
	"slices"

	"github.com/sallyport/sallyport/strictyaml"
)

// TransparentConfig is where the system redirects connections to whose clients
// know of no proxy.
type TransparentConfig struct {
	Listen []string // host:port; none: off

	// TProxy: packets come as they are (TPROXY), and not with another
	// destination (REDIRECT).
	TProxy bool
}

// transparentListener is its listener among the bound addresses.
const transparentListener = "proxy transparent"

// transparent reads proxy.transparent.
func (f *configFile) transparent(v strictyaml.Value) {
	c := &f.config.Proxy.Transparent
	mode := "redirect"
	section("proxy.transparent", fields{
		"listen": f.optionalListens("proxy.transparent.listen", &c.Listen),
		"mode":   oneOf(&mode, "redirect", "tproxy"),
	})(v)
	c.TProxy = mode == "tproxy"
	switch {
	case len(c.Listen) > 0:
		f.redirected(runtime.GOOS)
	case c.TProxy:
		v.Warnf("proxy.transparent.mode does nothing while nothing listens: write an address in listen, such as :3129")
	}
}

// redirected judges a transparent listener on a system.
func (f *configFile) redirected(system string) {
	c := &f.config.Proxy.Transparent
	at := f.at["proxy.transparent.listen"]
	if system != "linux" {
		f.problems.Errorf(at, "proxy.transparent needs Linux, whose nftables redirect connections, and this is %s: leave listen empty, and have clients told of proxy.listen", system)
		return
	}
	if i := slices.IndexFunc(c.Listen, isLoopback); i >= 0 && !c.TProxy {
		f.problems.Warnf(at, "proxy.transparent.listen %s gets only what this machine's own programs ask for: connections of others are redirected to the address of the interface that they come in by; listen on that, or on every address, such as :3129",
			c.Listen[i])
	}
}
