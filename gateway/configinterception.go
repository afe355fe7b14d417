package gateway

import (
	"time"

	"github.com/sallyport/sallyport/authority"
	"github.com/sallyport/sallyport/strictyaml"
)

// InterceptionConfig is how refusals are shown over HTTPS: with certificates of
// an authority that the organisation's computers trust.
type InterceptionConfig struct {
	CA  string // file of its certificate; empty: off
	Key string // file of its key

	// Clients is browsers, for those that can show a page, or all.
	Clients string
}

// On reports whether refusals are shown over HTTPS at all.
func (c InterceptionConfig) On() bool { return c.CA != "" && c.Key != "" }

// interception reads proxy.interception. The two files make sense together
// only, and clients with them.
func (f *configFile) interception(v strictyaml.Value) {
	c := &f.config.Proxy.Interception
	section("proxy.interception", fields{
		"ca":      f.named("proxy.interception.ca", f.optionalFile(&c.CA)),
		"key":     f.named("proxy.interception.key", f.optionalFile(&c.Key)),
		"clients": oneOf(&c.Clients, "browsers", "all"),
	})(v)
	switch {
	case c.CA != "" && c.Key == "":
		v.Errorf("proxy.interception has an authority without its key: name the key's file too")
	case c.CA == "" && c.Key != "":
		v.Errorf("proxy.interception has a key without its authority: name the certificate's file in ca")
	case !c.On() && v.Has("clients"):
		v.Warnf("proxy.interception.clients does nothing while there is no authority: make one with sallyport ca init, and name its files in ca and key")
	}
}

// checkInterception looks at the authority's files.
func (f *configFile) checkInterception(now time.Time) {
	const remedy = "make an authority with sallyport ca init, and write the file's path, relative to this one"
	c := &f.config.Proxy.Interception
	if !c.On() {
		return // which was said already, where it is a mistake
	}
	certificate, err := readPEM(c.CA)
	if err != nil {
		f.fileTrouble("proxy.interception.ca", c.CA, remedy, err)
		return
	}
	key, err := readPrivate(c.Key)
	if err != nil {
		f.fileTrouble("proxy.interception.key", c.Key, remedy, err)
		return
	}
	pair := authority.Pair{Certificate: certificate, Key: key}
	own, err := pair.Check()
	if err != nil {
		f.problems.Errorf(f.at["proxy.interception.ca"], "proxy.interception.ca %q and proxy.interception.key %q cannot be used: %s", c.CA, c.Key, err)
		return
	}
	for _, warning := range authority.Warnings(own, now) {
		f.problems.Warnf(f.at["proxy.interception.ca"], "authority %q: %s", c.CA, warning)
	}
}
