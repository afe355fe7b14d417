package pac

import (
	"bytes"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/dop251/goja"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/policy/catalogue"
)

// browser is a JavaScript engine that has loaded a script, as a browser does.
type browser struct {
	find goja.Callable
	vm   *goja.Runtime
}

// newBrowser loads a script. What browsers offer to such scripts and looks
// names up is there, and calling it is an error.
func newBrowser(t testing.TB, s Script) *browser {
	t.Helper()
	vm := goja.New()
	for _, name := range []string{"dnsResolve", "isResolvable", "isInNet", "myIpAddress", "dnsDomainIs", "localHostOrDomainIs", "alert",
		"dnsResolveEx", "isResolvableEx", "isInNetEx", "myIpAddressEx", "weekdayRange", "dateRange", "timeRange"} {
		err := vm.Set(name, func(goja.FunctionCall) goja.Value { panic(vm.NewGoError(errCalled(name))) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := vm.RunScript("proxy.pac", text(s)); err != nil {
		t.Fatalf("the script cannot be loaded: %v", err)
	}
	find, ok := goja.AssertFunction(vm.Get("FindProxyForURL"))
	if !ok {
		t.Fatal("the script has no FindProxyForURL")
	}
	return &browser{find: find, vm: vm}
}

type errCalled string

func (e errCalled) Error() string { return "the script called " + string(e) }

func text(s Script) string { return string(bytes.Join(s.Parts, nil)) }

// where is what the script answers for a URL with this host.
func (b *browser) where(t testing.TB, url, host string) string {
	t.Helper()
	got, err := b.find(goja.Undefined(), b.vm.ToValue(url), b.vm.ToValue(host))
	if err != nil {
		t.Fatalf("FindProxyForURL(%q, %q): %v", url, host, err)
	}
	answer, ok := got.Export().(string)
	if !ok {
		t.Fatalf("FindProxyForURL(%q, %q) is no string: %v", url, host, got)
	}
	return answer
}

// proxied asks about https, with what a URL has around an IPv6 address, and
// gives whether the answer is the proxy.
func (b *browser) proxied(t testing.TB, host string) bool {
	t.Helper()
	written := host
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		written = "[" + host + "]"
	}
	switch got := b.where(t, "https://"+written+"/", host); got {
	case "PROXY proxy.corp.example:3128":
		return true
	case direct:
		return false
	default:
		t.Fatalf("%q: the answer is %q", host, got)
		return false
	}
}

// builtIn reads the catalogue once for all tests.
var builtIn = sync.OnceValues(catalogue.Apps)

// compiled is a policy ready to be asked. Lists are files by their names.
func compiled(t testing.TB, text string, lists map[string]string) *policy.Program {
	t.Helper()
	return compiledAs(t, "test", text, lists)
}

func compiledAs(t testing.TB, revision, text string, lists map[string]string) *policy.Program {
	t.Helper()
	apps, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	doc, problems := policy.Parse([]policy.File{{Name: "policy.yaml", Data: []byte(text)}})
	if problems.HasErrors() {
		t.Fatalf("parse: %v\n%s", problems, text)
	}
	sources := policy.Sources{Catalogue: apps, Lists: map[string]*policy.List{}, Revision: revision}
	for _, source := range doc.Lists {
		list, _, err := policy.ParseList([]byte(lists[source.File]))
		if err != nil {
			t.Fatal(err)
		}
		sources.Lists[source.Name] = list
	}
	program, problems := policy.Compile(doc, sources)
	if program == nil {
		t.Fatalf("compile: %v\n%s", problems, text)
	}
	return program
}

func subjectAt(p *policy.Program, addr string) policy.Subject {
	return p.Subject(policy.Identity{Addr: netip.MustParseAddr(addr)})
}

func planFor(p *policy.Program, s *Settings, addr string) *Plan {
	subject := subjectAt(p, addr)
	return NewPlan(s, p.Scope(&subject, policy.DoorProxy, true))
}

// browserFor is a browser at an address, which reached the portal as
// portal.corp.example.
func browserFor(t testing.TB, p *policy.Program, s *Settings, addr string) *browser {
	t.Helper()
	return newBrowser(t, planFor(p, s, addr).Script(testProxy(t), hostOf(t, "portal.corp.example")))
}

func testProxy(t testing.TB) []Proxy {
	t.Helper()
	p, err := ParseProxy("proxy.corp.example:3128")
	if err != nil {
		t.Fatal(err)
	}
	return []Proxy{p}
}

func hostOf(t testing.TB, s string) policy.Host {
	t.Helper()
	h, err := policy.ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func patterns(t testing.TB, texts ...string) []policy.Pattern {
	t.Helper()
	var all []policy.Pattern
	for _, text := range texts {
		p, err := policy.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}
