package gateway

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/sallyport/sallyport/identity"
	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/strictyaml"
)

// ReadConfig reads sallyport.yaml. Every problem is reported, each with its
// place; the Config is nil where one of them is an error. Warnings are for
// settings that do nothing as they stand, or more than was meant.
func ReadConfig(path string) (*Config, policy.Problems) {
	f, problems := readConfig(path)
	if f == nil || problems.HasErrors() {
		return nil, problems
	}
	return f.config, problems
}

// CheckConfig says everything that is wrong with sallyport.yaml and with what
// it names, the policy apart. The Config is given as far as it can be told, so
// that a mistake here does not hide one in the policy, and is nil otherwise:
// it may name the policy, and must not start a gateway.
func CheckConfig(path string) (*Config, policy.Problems) {
	f, problems := readConfig(path)
	if f == nil {
		return nil, problems
	}
	c := f.config
	if c.Proxy.UsersFile != "" {
		if _, err := identity.LoadHtpasswd(c.Proxy.UsersFile); err != nil {
			problems = append(problems, usersProblems(f.at["proxy.users"], c.Proxy.UsersFile, err)...)
		}
	}
	f.problems = &problems
	f.checkFiles(time.Now())
	f.checkParents()
	problems.Sort([]string{path})
	return c, problems
}

func readConfig(path string) (*configFile, policy.Problems) {
	data, _, err := readBounded(path, strictyaml.MaxSize)
	if err != nil {
		return nil, policy.Problems{{
			Position: policy.Position{File: path},
			Message:  fmt.Sprintf("cannot read the configuration: %s", plainError(err)),
		}}
	}
	return parseConfigFile(path, data)
}

// parseConfig reads what can be read. The Config is nil where that is nothing,
// and must not be used to start anything where a problem is an error.
func parseConfig(path string, data []byte) (*Config, policy.Problems) {
	f, problems := parseConfigFile(path, data)
	if f == nil {
		return nil, problems
	}
	return f.config, problems
}

// parseConfigFile is parseConfig, with the places of settings.
func parseConfigFile(path string, data []byte) (*configFile, policy.Problems) {
	var problems strictyaml.Problems
	root, ok := strictyaml.Read(path, data, &problems)
	if !ok {
		return nil, problems
	}
	c := DefaultConfig()
	c.Path = path
	f := &configFile{config: c, dir: filepath.Dir(path), problems: &problems, at: map[string]policy.Position{}}
	c.Policy = f.resolve(c.Policy)
	c.State = f.resolve("state")
	f.read(root)
	for _, judge := range slices.Concat(f.later, f.atLast) {
		judge()
	}
	f.distinctAddresses()
	if trouble := c.pageTrouble(); c.DNS.Answer == policy.AnswerPage && trouble != "" {
		problems.Warnf(f.at["dns.block.answer"], "%s", trouble)
	}
	problems.Sort([]string{path})
	return f, problems
}

// configFile reads the sections of one file into a Config that holds the
// defaults already.
type configFile struct {
	config   *Config
	dir      string
	problems *policy.Problems
	at       map[string]policy.Position // of settings that are judged with others, by their full name
	hostsAt  []policy.Position          // of each of dns.hosts

	accessLogsAt []policy.Position // of the file of each of proxy.access_logs

	later  []func() // what is judged once all sections are read
	atLast []func() // and what is judged after that
}

// named is read for a setting whose place is wanted later.
func (f *configFile) named(setting string, read func(strictyaml.Value)) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		f.at[setting] = v.Position()
		read(v)
	}
}

// fields is short for what a mapping may hold.
type fields = map[string]func(strictyaml.Value)

func (f *configFile) read(root strictyaml.Value) {
	c := f.config
	root.Mapping(strictyaml.Shape{Noun: "the configuration", Fields: fields{
		"policy":   f.policy,
		"state":    f.file(&c.State),
		"tenant":   line(&c.Tenant),
		"dns":      f.dns,
		"proxy":    f.proxy,
		"admin":    section("admin", fields{"listen": f.named("admin.listen", adminListen(&c.Admin.Listen)), "hosts": names(&c.Admin.Hosts)}),
		"portal":   f.portal,
		"coaching": f.coaching,
		"audit":    f.audit,
		"log":      section("log", fields{"level": oneOf(&c.Log.Level, "debug", "info", "warn", "error"), "format": oneOf(&c.Log.Format, "console", "json")}),
		"identity": section("identity", fields{"remember": duration(&c.Users.Remember, 0, 24*time.Hour)}),
		"reload":   section("reload", fields{"poll": duration(&c.Reload.Poll, time.Second, time.Hour)}),
		"upgrade":  section("upgrade", fields{"ready": duration(&c.Upgrade.Ready, time.Second, time.Hour)}),
	}, Hints: map[string]string{
		"rules":  "rules belong in the policy file",
		"groups": "groups belong in the policy file",
		"apps":   "apps belong in the policy file",
		"lists":  "lists belong in the policy file",
	}})
}

func (f *configFile) policy(v strictyaml.Value) {
	f.file(&f.config.Policy)(v)
	f.config.policyNamed = policyNamed{path: f.config.Policy, at: v.Position()}
}

func (f *configFile) proxy(v strictyaml.Value) {
	p := &f.config.Proxy
	section("proxy", fields{
		"listen":         f.listens("proxy.listen", &p.Listen),
		"clients":        prefixes(&p.Clients),
		"proxy_protocol": believedFrom(&p.ProxyFrom),
		"deny_networks":  f.denyNetworks,
		"users":          f.named("proxy.users", f.optionalFile(&p.UsersFile)),
		"advertise":      advertised(&p.Advertise),
		"parents":        f.parents,
		"routes":         f.routes,
		"access_logs":    f.accessLogs,
		"drain":          duration(&p.Drain, 0, time.Hour),
		"timeouts": section("proxy.timeouts", fields{
			"dial":       duration(&p.Dial, 10*time.Millisecond, 5*time.Minute),
			"header":     duration(&p.Header, 10*time.Millisecond, 5*time.Minute),
			"first_byte": duration(&p.FirstByte, 10*time.Millisecond, 5*time.Minute),
			"peek":       f.named("proxy.timeouts.peek", duration(&p.Peek, 10*time.Millisecond, 10*time.Second)),
			"idle":       duration(&p.Idle, time.Second, 7*24*time.Hour),
			"body":       duration(&p.Limits.BodyGrace, 10*time.Millisecond, time.Hour),
			"silent":     duration(&p.Limits.Silent, time.Second, 7*24*time.Hour),
		}),
		"limits":       f.proxyLimits,
		"transparent":  f.transparent,
		"socks":        f.socks,
		"tls":          f.endpoint("proxy.tls", &p.TLS, nil),
		"interception": f.interception,
		"mismatch":     f.mismatch,
	})(v)
}

func (f *configFile) portal(v strictyaml.Value) {
	p := &f.config.Portal
	section("portal", fields{
		"listen":    f.named("portal.listen", optionalListen(&p.Listen)),
		"hosts":     names(&p.Hosts),
		"url":       portalURL(&p.URL),
		"addresses": addresses(&p.Addresses),
		"pac":       f.pac,
	})(v)
}

// denyNetworks reads private, none, or a list of prefixes.
func (f *configFile) denyNetworks(v strictyaml.Value) {
	p := &f.config.Proxy
	if v.IsList() {
		prefixes(&p.DenyNetworks)(v)
		if len(p.DenyNetworks) == 0 {
			v.Errorf("%q is an empty list: write private, none, or the networks that must not be reached", v.Name())
		}
		return
	}
	word, ok := v.OneOf("private", "none")
	if ok {
		p.DenyNone = word == "none"
	}
}

// file reads a path, relative to the configuration's own folder.
func (f *configFile) file(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		if text, ok := v.Line(); ok {
			*into = f.resolve(text)
		}
	}
}

// optionalFile is file for a path that may be empty.
func (f *configFile) optionalFile(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		text, ok := v.OptionalLine()
		if !ok || text == "" {
			return
		}
		*into = f.resolve(text)
	}
}

func (f *configFile) resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(f.dir, path)
}
