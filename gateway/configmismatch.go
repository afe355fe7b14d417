package gateway

import (
	"github.com/sallyport/sallyport/proxy"
	"github.com/sallyport/sallyport/strictyaml"
)

// mismatch reads proxy.mismatch: one word for every kind, or a word for each.
func (f *configFile) mismatch(v strictyaml.Value) {
	m := &f.config.Proxy.Mismatch
	kinds := []*proxy.MismatchAction{&m.ServerName, &m.Host, &m.Address, &m.ECH, &m.Protocol}
	if v.IsMapping() || v.IsEmpty() {
		section("proxy.mismatch", fields{
			"sni":       mismatchAction(kinds[0]),
			"host":      mismatchAction(kinds[1]),
			"address":   mismatchAction(kinds[2]),
			"ech":       mismatchAction(kinds[3]),
			"protocol":  mismatchAction(kinds[4]),
			"tls_ports": ports(&m.TLSPorts),
		})(v)
		return
	}
	var all proxy.MismatchAction
	mismatchAction(&all)(v)
	for _, kind := range kinds {
		*kind = all
	}
}

func mismatchAction(into *proxy.MismatchAction) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		if word, ok := v.OneOf(string(proxy.MismatchAllow), string(proxy.MismatchReport), string(proxy.MismatchBlock)); ok {
			*into = proxy.MismatchAction(word)
		}
	}
}

// ports reads a list of ports. An empty one stays one.
func ports(into *[]uint16) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		list := []uint16{}
		v.Items(func(item strictyaml.Value) {
			if port, ok := item.Int(1, 1<<16-1); ok {
				list = append(list, uint16(port))
			}
		})
		*into = list
	}
}
