package gateway

import "github.com/sallyport/sallyport/strictyaml"

// socks reads proxy.socks.
func (f *configFile) socks(v strictyaml.Value) {
	section("proxy.socks", fields{
		"listen": f.optionalListens("proxy.socks.listen", &f.config.Proxy.SOCKS),
	})(v)
}
