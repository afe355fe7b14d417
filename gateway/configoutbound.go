package gateway

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/proxy/outbound"
	"github.com/sallyport/sallyport/strictyaml"
)

// How the proxy door reaches destinations: parent proxies, and the routes that
// lead to them.

// Outbound is the part of the settings that says how destinations are reached.
func (c *ProxyConfig) Outbound() outbound.Config {
	return outbound.Config{Timeout: c.Dial, Parents: c.Parents, Routes: c.Routes}
}

// parents reads the parent proxies.
func (f *configFile) parents(v strictyaml.Value) {
	p := &f.config.Proxy
	v.Entries(func(key, value strictyaml.Value) {
		name, ok := key.Line()
		if !ok {
			return
		}
		if name == outbound.Direct {
			key.Errorf("%q is the way without a parent: give the parent another name", name)
			return
		}
		if !outbound.IsParentName(name) {
			key.Errorf("%q cannot be a parent's name: use up to 63 letters, digits, hyphens, dots and underscores", name)
			return
		}
		place := len(p.Parents)
		p.Parents = append(p.Parents, outbound.Parent{Name: name})
		f.parent(value, &p.Parents[place])
		f.later = append(f.later, func() {
			uses := func(r outbound.Route) bool { return slices.Contains(r.Via, name) }
			if !slices.ContainsFunc(p.Routes, uses) {
				key.Warnf("parent %q is in no route, and nothing goes through it: name it in the via of one of proxy.routes", name)
			}
		})
	})
}

// parent reads one parent proxy.
func (f *configFile) parent(v strictyaml.Value, p *outbound.Parent) {
	noun := "proxy.parents." + p.Name
	resolve, send := "here", ""
	before := len(*f.problems)
	v.Mapping(strictyaml.Shape{Noun: noun, Required: []string{"url"}, Fields: fields{
		"url":         f.parentURL(p),
		"credentials": f.named(noun+".credentials", f.optionalFile(&p.CredentialsFile)),
		"ca":          f.named(noun+".ca", f.optionalFile(&p.CAFile)),
		"resolve":     f.named(noun+".resolve", oneOf(&resolve, "here", "parent")),
		"send":        f.named(noun+".send", oneOf(&send, "name", "address")),
	}})
	if len(*f.problems) > before {
		return // what is wrong may be what does not go together
	}
	p.FindsNames, p.SendAddress = resolve == "parent", send == "address"
	scheme := p.Endpoint.Scheme
	socks := scheme == outbound.SchemeSOCKS5 || scheme == outbound.SchemeSOCKS5H
	switch {
	case socks && send != "":
		f.problems.Errorf(f.at[noun+".send"], "%s.send: what a SOCKS proxy is sent is said by its url: write socks5h:// for names, socks5:// for addresses, and take send out", noun)
	case p.FindsNames && scheme == outbound.SchemeSOCKS5:
		f.problems.Errorf(f.at[noun+".resolve"], "%s.resolve: a socks5:// proxy is sent addresses, and cannot look up names: write socks5h:// in its url, or resolve: here", noun)
	case p.FindsNames && p.SendAddress:
		f.problems.Errorf(f.at[noun+".resolve"], "%s.resolve: a proxy that is sent addresses cannot look up names: write send: name, or resolve: here", noun)
	}
	if p.CAFile != "" && scheme != outbound.SchemeHTTPS {
		f.problems.Errorf(f.at[noun+".ca"], "%s.ca: there is no certificate where there is no TLS: write https:// in its url, or take ca out", noun)
	}
}

// parentURL reads where a parent is.
func (f *configFile) parentURL(p *outbound.Parent) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		text, ok := v.Line()
		if !ok {
			return
		}
		endpoint, err := outbound.ParseEndpoint(text)
		if err != nil {
			v.Errorf("%s", err)
			return
		}
		host, err := policy.ParseHost(endpoint.Host)
		if err != nil {
			v.Errorf("%q: %s", text, err)
			return
		}
		endpoint.Host = host.String()
		p.Endpoint = endpoint
		f.later = append(f.later, func() {
			if l, ok := f.config.listensAt(host, endpoint.Port); ok {
				v.Errorf("parent %q is this gateway itself (%s): what it is sent would come back for ever; write the address of another proxy", text, l)
			}
		})
	}
}

// listensAt finds the setting of a TCP listener at a host and port, as far as
// the file tells.
func (c *Config) listensAt(host policy.Host, port uint16) (setting string, found bool) {
	if !host.IsAddr() && host.Name() != "localhost" {
		return "", false
	}
	addr := host.Addr()
	if !host.IsAddr() {
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	for _, l := range c.listeners() {
		if !slices.Contains(l.networks, "TCP") {
			continue
		}
		for _, address := range l.addresses {
			if strings.HasPrefix(address, ":") {
				address = "[::]" + address // every address, of both families
			}
			at, err := netip.ParseAddrPort(address)
			if err != nil || at.Port() != port {
				continue
			}
			if bound := at.Addr().Unmap(); bound == addr || bound.IsUnspecified() && addr.IsLoopback() {
				return l.setting, true
			}
		}
	}
	return "", false
}

// routes reads which way destinations are reached.
func (f *configFile) routes(v strictyaml.Value) {
	before, whole := len(*f.problems), true
	v.Items(func(item strictyaml.Value) {
		var r outbound.Route
		if !item.Mapping(strictyaml.Shape{Noun: "a route", Required: []string{"via"}, Fields: fields{
			"to":  destinations(&r.To),
			"via": f.ways(&r.Via),
		}}) {
			return
		}
		place := len(f.config.Proxy.Routes)
		f.config.Proxy.Routes = append(f.config.Proxy.Routes, r)
		f.later = append(f.later, func() {
			if whole {
				f.doubtRoute(item, place)
			}
		})
	})
	whole = len(*f.problems) == before // half of a route is another route
}

// ways reads the parents of a route.
func (f *configFile) ways(into *[]string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		clean := v.Items(func(item strictyaml.Value) {
			name, ok := item.Line()
			if !ok {
				return
			}
			if slices.Contains(*into, name) {
				item.Errorf("%q is written twice: a way that did not work is not tried again", name)
				return
			}
			*into = append(*into, name)
			f.later = append(f.later, func() { f.knownParent(item, name) })
		})
		if clean && v.IsList() && v.Len() == 0 {
			v.Errorf("%q names no way: write parents, or %s", v.Name(), outbound.Direct)
		}
	}
}

// knownParent says that a way leads nowhere.
func (f *configFile) knownParent(v strictyaml.Value, name string) {
	known := []string{outbound.Direct}
	for _, p := range f.config.Proxy.Parents {
		known = append(known, p.Name)
	}
	if slices.Contains(known, name) {
		return
	}
	if near := strictyaml.Nearest(name, known); near != "" {
		v.Errorf("unknown parent %q: did you mean %q?", name, near)
		return
	}
	v.Errorf("unknown parent %q: define it in proxy.parents, or write %s", name, outbound.Direct)
}

// destinations reads what a route is for.
func destinations(into *[]outbound.Destination) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		clean := v.Items(func(item strictyaml.Value) {
			text, ok := item.Line()
			if !ok {
				return
			}
			to, ok := destination(item, text)
			if !ok {
				return
			}
			if slices.Contains(*into, to) {
				item.Errorf("%q is written twice", text)
				return
			}
			*into = append(*into, to)
		})
		if clean && v.IsList() && v.Len() == 0 {
			v.Errorf("%q names no destination: leave it out for every destination", v.Name())
		}
	}
}

// destination reads a domain, as a policy writes it, or a network.
func destination(v strictyaml.Value, text string) (outbound.Destination, bool) {
	_, notAddress := netip.ParseAddr(text)
	if strings.Contains(text, "/") && !strings.HasPrefix(text, "/") && !strings.Contains(text, "://") || notAddress == nil {
		prefix, ok := prefixOf(v, text)
		return outbound.Destination{Prefix: prefix}, ok
	}
	to, name := outbound.Destination{}, text
	if rest, found := strings.CutPrefix(text, "="); found {
		to.Match, name = outbound.MatchExact, rest
	} else if rest, found := strings.CutPrefix(text, "*."); found {
		to.Match, name = outbound.MatchBelow, rest
	}
	host, err := policy.ParseHost(name)
	if err != nil || host.IsAddr() {
		v.Errorf("%q is neither a domain nor a network: write corp.example for a name and everything under it, =corp.example for the name alone, *.corp.example for what is under it, or 10.0.0.0/8", text)
		return outbound.Destination{}, false
	}
	to.Name = host.Name()
	return to, true
}

// doubtRoute warns of a route that does less than it seems to.
func (f *configFile) doubtRoute(v strictyaml.Value, place int) {
	all := f.config.Proxy.Routes
	r := all[place]
	for i, earlier := range all[:place] {
		if len(earlier.To) == 0 {
			v.Warnf("this route is never taken: route %d is for every destination, and the first that fits decides; put it above that one", i+1)
			return
		}
		for _, to := range r.To {
			if slices.Contains(earlier.To, to) {
				v.Warnf("%s is for route %d already, and the first that fits decides: take it out of one of them", destinationText(to), i+1)
			}
		}
	}
	var finds, wants []string
	for _, name := range r.Via {
		at := slices.IndexFunc(f.config.Proxy.Parents, func(p outbound.Parent) bool { return p.Name == name })
		if at >= 0 && f.config.Proxy.Parents[at].FindsNames {
			finds = append(finds, name)
		} else {
			wants = append(wants, name)
		}
	}
	if len(finds) > 0 && len(wants) > 0 {
		v.Warnf("%s has resolve: parent, and %s needs the name looked up here: so it is looked up here for this route, and what cannot be is not reached; give %s a route of its own", finds[0], wants[0], finds[0])
	}
}

// destinationText is a destination as it is written.
func destinationText(to outbound.Destination) string {
	switch {
	case to.Name == "":
		return to.Prefix.String()
	case to.Match == outbound.MatchExact:
		return "=" + to.Name
	case to.Match == outbound.MatchBelow:
		return "*." + to.Name
	default:
		return to.Name
	}
}

// checkParents looks at the files that parents name, so that check finds what
// serve would stumble over.
func (f *configFile) checkParents() {
	for _, p := range f.config.Proxy.Parents {
		noun := "proxy.parents." + p.Name
		if p.CredentialsFile != "" {
			_, err := outbound.ReadCredentials(p.CredentialsFile, p.Endpoint.Scheme)
			f.fileTrouble(noun+".credentials", p.CredentialsFile, fmt.Sprintf("write one line, user:password, into it, and run chmod 600 %s", p.CredentialsFile), err)
		}
		if p.CAFile != "" {
			_, err := outbound.ReadAuthorities(p.CAFile)
			f.fileTrouble(noun+".ca", p.CAFile, "or leave ca empty for the system's authorities", err)
		}
	}
}
