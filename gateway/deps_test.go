package gateway

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sallyport/sallyport"

// arrow is an import that must not be: from packages with a path in from, of a
// package with a path in of, save in the files named in but.
type arrow struct {
	from, of []string
	but      []string
	because  string
}

// forbidden is the architecture, said backwards. A path ends in /... where
// everything under it is meant too.
var forbidden = []arrow{
	{
		from: []string{"policy/..."},
		of: []string{
			"net/http", "net/http/...", "os", "os/...", "log", "log/...", "context",
			"go.uber.org/...", "github.com/prometheus/...", "github.com/miekg/...", "github.com/elazarl/...",
			"gopkg.in/...", "golang.org/x/sys/...", "golang.org/x/crypto/...",
		},
		because: "policy is pure: bytes and requests in, verdicts out; it opens no file and no socket and writes no log",
	},
	{
		from:    []string{"policy", "policy/catalogue", "strictyaml"},
		of:      ours("audit", "blockpage", "coaching", "cmd/...", "configs", "console", "dnsfilter/...", "gateway", "identity", "internal/...", "proxy"),
		because: "policy stands at the foot: everything may lean on it, it leans on nothing of ours but strictyaml",
	},
	{
		from:    []string{"strictyaml"},
		of:      ours("policy/..."),
		because: "strictyaml knows nothing of policies: it reads both of our files",
	},
	{
		from:    []string{"blockpage"},
		of:      ours("audit", "coaching", "cmd/...", "configs", "console", "dnsfilter/...", "gateway", "identity", "internal/...", "proxy"),
		because: "blockpage is a leaf: it shows a verdict, whoever took it",
	},
	{
		from:    []string{"dnsfilter/...", "proxy"},
		of:      ours("accesslog", "audit", "coaching", "cmd/...", "configs", "console", "gateway", "identity", "internal/...", "pac"),
		because: "a door asks, then obeys: identity, decisions, metrics and logs reach it as fields, so that it can be tested and replaced alone",
	},
	{
		from:    []string{"dnsfilter/..."},
		of:      ours("proxy", "blockpage"),
		because: "the doors do not know each other; the gateway leads the proxy's look-ups to the DNS door",
	},
	{
		from:    []string{"proxy"},
		of:      ours("dnsfilter/..."),
		because: "the doors do not know each other; the gateway leads the proxy's look-ups to the DNS door",
	},
	{
		from:    []string{"dnsfilter/..."},
		of:      ours("dnsfilter"),
		because: "the door stands on its parts, and never the other way round",
	},
	{
		from:    []string{"dnsfilter/ingress", "dnsfilter/upstream", "dnsfilter/localdata", "dnsfilter/dnswire", "dnsfilter/cookie"},
		of:      ours("policy/...", "dnsfilter/ingress", "dnsfilter/upstream", "dnsfilter/localdata", "dnsfilter/cookie"),
		because: "sockets, resolvers and records know nothing of policy nor of each other: the door joins them",
	},
	{
		from:    []string{"proxy/outbound"},
		of:      ours("audit", "blockpage", "cmd/...", "configs", "console", "dnsfilter/...", "gate", "gateway", "identity", "internal/...", "policy/...", "proxy", "strictyaml"),
		because: "outbound is a leaf: it connects, whoever decided",
	},
	{
		from:    []string{"proxy/pace", "proxy/relay"},
		of:      ours("..."),
		because: "relay moves bytes and pace holds them back: whose they are and what for, their callers know",
	},
	{
		from:    []string{"proxyheader", "ratelimit", "servercert"},
		of:      ours("..."),
		but:     []string{"servercert/files.go"}, // secretmode
		because: "both doors read PROXY headers, count clients and show certificates alike: what they do with them is theirs to know",
	},
	{
		from:    []string{"secretmode"},
		of:      ours("..."),
		because: "secretmode is a leaf: whoever reads a secret asks it",
	},
	{
		from:    []string{"keyfile"},
		of:      ours("..."),
		but:     []string{"keyfile/read.go"}, // secretmode
		because: "keyfile is a leaf: it keeps a secret, whatever it is for",
	},
	{
		from:    []string{"privacy"},
		of:      ours("accesslog", "audit", "authority", "blockpage", "cmd/...", "coaching", "configs", "console", "dnsfilter/...", "gate", "gateway", "identity", "internal/...", "linelog", "pac", "proxy/...", "strictyaml"),
		because: "privacy leans on policy alone, for names: it hides who somebody is, whichever log would tell",
	},
	{
		from:    []string{"dnsfilter/...", "proxy/..."},
		of:      ours("privacy"),
		because: "doors report what they know: what of it is written is for the logs to say",
	},
	{
		from:    []string{"gate"},
		of:      ours("audit", "blockpage", "cmd/...", "configs", "console", "dnsfilter/...", "gateway", "identity", "internal/...", "policy/...", "proxy", "strictyaml"),
		because: "gate is a leaf: it counts, whatever is counted",
	},
	{
		from:    []string{"linelog"},
		of:      ours("accesslog", "audit", "blockpage", "cmd/...", "configs", "console", "dnsfilter/...", "gate", "gateway", "identity", "internal/...", "policy/...", "proxy/...", "strictyaml"),
		because: "linelog is a leaf: it writes lines, whatever they say",
	},
	{
		from:    []string{"authority"},
		of:      ours("audit", "blockpage", "cmd/...", "configs", "console", "dnsfilter/...", "gate", "gateway", "identity", "internal/...", "proxy/...", "strictyaml"),
		because: "authority signs names and shows a page that it is given: it leans on policy alone, for names",
	},
	{
		from:    []string{"accesslog"},
		of:      ours("audit", "blockpage", "cmd/...", "configs", "console", "dnsfilter/...", "gate", "gateway", "identity", "internal/...", "policy/...", "proxy/...", "strictyaml"),
		because: "accesslog knows formats: the gateway tells it what the proxy has seen",
	},
	{
		from:    []string{"handover"},
		of:      ours("..."),
		because: "handover is a leaf: it passes sockets, whoever listens on them",
	},
	{
		from:    []string{"dnsfilter/...", "proxy/..."},
		of:      ours("handover"),
		because: "the doors get their sockets through func fields, so that they can be tested and replaced alone",
	},
	{
		from:    []string{"pac"},
		of:      ours("accesslog", "audit", "authority", "blockpage", "cmd/...", "configs", "console", "dnsfilter/...", "gate", "gateway", "identity", "internal/...", "linelog", "proxy/...", "strictyaml"),
		because: "pac leans on policy alone: it is told who asks and where the proxies are",
	},
	{
		from:    []string{"firewall"},
		of:      ours("accesslog", "audit", "authority", "blockpage", "coaching", "cmd/...", "configs", "console", "dnsfilter/...", "gate", "gateway", "identity", "internal/...", "linelog", "pac", "proxy/...", "strictyaml"),
		because: "firewall leans on policy alone: it asks, and writes down the answers",
	},
	{
		from:    []string{"firewall"},
		of:      []string{"os", "net", "net/http", "go.uber.org/..."},
		because: "what is written for a packet filter is bytes: who stores and loads them is not their writer's business",
	},
	{
		from:    []string{"identity", "audit"},
		of:      ours("audit", "blockpage", "coaching", "cmd/...", "configs", "console", "dnsfilter/...", "gateway", "identity", "internal/...", "proxy"),
		because: "identity and audit lean on policy alone",
	},
	{
		from:    []string{"coaching"},
		of:      ours("audit", "blockpage", "cmd/...", "configs", "console", "dnsfilter/...", "gate", "gateway", "identity", "internal/...", "proxy/...", "strictyaml"),
		because: "coaching leans on policy alone: it signs links and keeps grants, whoever shows the page",
	},
	{
		from:    []string{"console"},
		of:      ours("coaching", "cmd/...", "configs", "dnsfilter/...", "gateway", "identity", "internal/...", "pac", "proxy"),
		because: "every fact reaches the console as a func field; its one sideways arrow leads to audit",
	},
	{
		from:    []string{"gateway"},
		of:      ours("cmd/...", "configs", "internal/..."),
		because: "gateway assembles; cmd starts it, and never the other way round",
	},
	{
		from:    []string{"..."},
		of:      []string{"github.com/elazarl/goproxy", "github.com/elazarl/goproxy/..."},
		but:     []string{"proxy/goproxy.go", "bench/proxy/goproxy/*"},
		because: "goproxy has defects that are mended around it in one place: proxy/goproxy.go",
	},
	{
		from:    []string{"..."},
		of:      []string{"github.com/miekg/dns"},
		but:     []string{"dnsfilter/*", "dnsfilter/localdata/*", "dnsfilter/upstream/*", "internal/demo/*", "e2e/*", "bench/dns/*/*"},
		because: "only the DNS door speaks DNS (and the stub upstreams of demo and tests, which are no part of the program)",
	},
	{
		from:    []string{"..."},
		of:      []string{"gopkg.in/yaml.v3"},
		but:     []string{"strictyaml/*", "dashboards/promcheck/*"}, // which reads Prometheus' files, in a module of its own
		because: "every file of ours is read strictly, with places: use strictyaml",
	},
	{
		from:    []string{"..."},
		of:      []string{"log", "expvar", "net/http/pprof", "github.com/prometheus/client_golang/prometheus/promauto"},
		because: "no global log, no default mux, no default registry",
	},
	{
		from:    []string{"audit", "blockpage", "console", "dnsfilter/...", "identity", "policy/...", "proxy", "strictyaml"},
		of:      []string{"github.com/fsnotify/fsnotify", "github.com/spf13/cobra"},
		because: "only gateway watches files, and only cmd reads flags",
	},
}

func ours(paths ...string) []string {
	for i, p := range paths {
		paths[i] = module + "/" + p
	}
	return paths
}

// source is one Go file that is no test.
type source struct {
	path    string // from the module's root
	pkg     string // its folder
	imports []string
	comment bool // it has a package comment
}

// TestImportGraph reads every file of the module and fails on an arrow that
// house rules forbid, with the reason.
func TestImportGraph(t *testing.T) {
	sources := readModule(t)
	for _, s := range sources {
		for _, imported := range s.imports {
			if a := forbiddenArrow(s, imported); a != nil {
				t.Errorf("%s imports %s: %s", s.path, imported, a.because)
			}
		}
	}
}

// TestImportGraphBites makes sure that the test above can fail.
func TestImportGraphBites(t *testing.T) {
	for _, test := range []struct{ path, imports string }{
		{"proxy/connect.go", "github.com/elazarl/goproxy"},
		{"proxy/connect.go", module + "/dnsfilter"},
		{"policy/decide.go", "os"},
		{"policy/catalogue/apps.go", "net/http"},
		{"audit/log.go", "log"},
		{"gateway/x.go", "github.com/miekg/dns"},
		{"dnsfilter/ingress/udp.go", module + "/policy"},
		{"dnsfilter/upstream/udp.go", module + "/dnsfilter"},
		{"dnsfilter/dnswire/name.go", "github.com/miekg/dns"},
		{"strictyaml/read.go", module + "/policy/catalogue"},
		{"servercert/store.go", module + "/gate"},
	} {
		if forbiddenArrow(source{path: test.path, pkg: filepath.Dir(test.path)}, test.imports) == nil {
			t.Errorf("%s may import %s, which the house forbids", test.path, test.imports)
		}
	}
	for _, test := range []struct{ path, imports string }{
		{"proxy/goproxy.go", "github.com/elazarl/goproxy"},
		{"console/admin.go", module + "/audit"},
		{"dnsfilter/answer.go", "github.com/miekg/dns"},
		{"dnsfilter/upstream/udp.go", module + "/dnsfilter/dnswire"},
		{"policy/parse.go", module + "/strictyaml"},
		{"dnsfilter/ingress/binder.go", module + "/servercert"},
		{"proxy/listener.go", module + "/proxyheader"},
	} {
		if a := forbiddenArrow(source{path: test.path, pkg: filepath.Dir(test.path)}, test.imports); a != nil {
			t.Errorf("%s may not import %s: %s", test.path, test.imports, a.because)
		}
	}
}

// TestEveryPackageSaysWhatItIs wants a package comment, in doc.go.
func TestEveryPackageSaysWhatItIs(t *testing.T) {
	said := map[string]bool{}
	for _, s := range readModule(t) {
		said[s.pkg] = said[s.pkg] || s.comment && filepath.Base(s.path) == "doc.go"
	}
	if len(said) < 8 {
		t.Fatalf("only %d packages were found", len(said))
	}
	for pkg, ok := range said {
		if !ok {
			t.Errorf("package %s has no doc.go that says what it is and how it is used", pkg)
		}
	}
}

// TestPolicyReadsNoClock keeps time an input of the policy.
func TestPolicyReadsNoClock(t *testing.T) {
	seen := 0
	for _, s := range readModule(t) {
		if !covers([]string{"policy/..."}, s.pkg) {
			continue
		}
		seen++
		text, err := os.ReadFile(filepath.Join("..", s.path))
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{"time.Now(", "time.Since(", "time.Until(", "time.After(", "time.NewTimer("} {
			if strings.Contains(string(text), call) {
				t.Errorf("%s calls %s): time is part of the request, so that a test can be at any time", s.path, call)
			}
		}
	}
	if seen == 0 {
		t.Fatal("no file of the policy was found")
	}
}

func forbiddenArrow(s source, imported string) *arrow {
	for i := range forbidden {
		a := &forbidden[i]
		if !covers(a.from, s.pkg) || !covers(a.of, imported) {
			continue
		}
		if !slices.ContainsFunc(a.but, func(pattern string) bool { return matches(pattern, s.path) }) {
			return a
		}
	}
	return nil
}

func covers(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if pattern == "..." {
			return true
		}
		root, under := strings.CutSuffix(pattern, "/...")
		return path == root || under && strings.HasPrefix(path, root+"/")
	})
}

func matches(pattern, path string) bool {
	ok, err := filepath.Match(pattern, path)
	if err != nil {
		panic(fmt.Sprintf("bad pattern %q: %v", pattern, err))
	}
	return ok
}

func readModule(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatalf("the module's root is not where it was: %v", err)
	}
	var sources []source
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || filepath.Dir(path) == root {
			return nil
		}
		s, err := readSource(root, path)
		sources = append(sources, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

func readSource(root, path string) (source, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return source{}, err
	}
	relative, err := filepath.Rel(root, path)
	if err != nil {
		return source{}, err
	}
	s := source{path: filepath.ToSlash(relative), pkg: filepath.ToSlash(filepath.Dir(relative)), comment: parsed.Doc != nil}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return s, err
		}
		s.imports = append(s.imports, imported)
	}
	return s, nil
}
