package policy

import (
	"slices"

	"github.com/sallyport/sallyport/strictyaml"
)

// roles are what a name or a prefix of an app can be for. RoleShared is the
// one that changes what matches.
var roles = []string{"core", "media", "cdn", "shared", "signaling", "phone", "resolver"}

// Roles of an app's names and prefixes that the code distinguishes.
const (
	RoleCore   = "core"
	RoleShared = "shared"
)

// ParseApp reads one file of the catalogue: one app, with its id, in the form
// that the apps of a policy have. In a catalogue every fact names its source.
func ParseApp(file File) (App, Problems) {
	var problems Problems
	root, ok := strictyaml.Read(file.Name, file.Data, &problems)
	if !ok {
		return App{}, problems
	}
	app := App{Position: root.Position(), BuiltIn: true}
	fields := appFields(&app)
	delete(fields, "extends")
	fields["id"] = func(v strictyaml.Value) {
		if id, ok := v.Line(); ok && slug(v, "the id of an app", id) {
			app.ID = id
		}
	}
	isApp := root.Mapping(strictyaml.Shape{
		Noun:     "app",
		Fields:   fields,
		Required: []string{"id", "name", "vendor", "category", "domain_block", "domains"},
		Hints:    map[string]string{"extends": "only an app of a policy can extend another"},
	})
	if isApp {
		checkSources(root, &app, &problems)
	}
	problems.Sort(nil)
	return app, problems
}

// checkSources reports the facts that do not say where they come from.
func checkSources(root strictyaml.Value, app *App, problems *Problems) {
	const remedy = "say where the fact comes from"
	for _, d := range app.Domains {
		if d.Source == "" {
			problems.Errorf(d.Position, "domain %q without \"source\": %s", d.Text, remedy)
		}
	}
	for _, n := range app.Networks {
		if n.Source == "" {
			problems.Errorf(n.Position, "network %s without \"source\": %s", n.Prefix, remedy)
		}
	}
	for _, port := range app.Ports {
		if port.Source == "" {
			problems.Errorf(port.Position, "port without \"source\": %s", remedy)
		}
	}
	if app.DomainBlock != "yes" && app.DomainBlockNote == "" && !root.Has("domain_block_note") {
		root.Errorf("app without \"domain_block_note\": say what a block by name leaves open or breaks")
	}
}

func (p *parser) readApps(v strictyaml.Value) {
	p.named(v, "app", p.apps, func(id string, key, value strictyaml.Value) {
		app := App{Position: key.Position(), ID: id}
		before := len(p.problems)
		slug(key, "the id of an app", id)
		if id == NoApp {
			key.Errorf("%q cannot be the id of an app: it stands for no app in logs and metrics", id)
		}
		value.Mapping(strictyaml.Shape{
			Noun:   "app",
			Fields: appFields(&app),
			Hints: map[string]string{
				"id":    "the key is the id",
				"cidrs": `write prefixes under "networks"`,
			},
		})
		if len(p.problems) == before && len(app.Domains) == 0 && len(app.Networks) == 0 {
			value.Errorf("app %q has neither domains nor networks: nothing would match it", id)
		}
		if app.Name == "" && app.Extends == "" {
			app.Name = id
		}
		p.doc.Apps = append(p.doc.Apps, app)
	})
}

// appFields are the words of an app, in a policy and in the catalogue.
func appFields(app *App) map[string]func(strictyaml.Value) {
	return map[string]func(strictyaml.Value){
		"name":   intoLine(&app.Name),
		"vendor": intoLine(&app.Vendor),
		"category": func(v strictyaml.Value) {
			if category, ok := v.Line(); ok {
				slug(v, "a category", category)
				app.Category = category
			}
		},
		"extends":           intoLine(&app.Extends),
		"domain_block":      func(v strictyaml.Value) { app.DomainBlock, _ = v.OneOf("yes", "partial", "no") },
		"domain_block_note": intoText(&app.DomainBlockNote),
		"notes":             intoText(&app.Notes),
		"domains":           func(v strictyaml.Value) { items(v, app.readDomain) },
		"networks":          func(v strictyaml.Value) { items(v, app.readNetwork) },
		"ports":             func(v strictyaml.Value) { items(v, app.readPort) },
	}
}

// fact reads an item of an app: a plain text, or a mapping with the text under
// key and what is known about it.
func fact(v strictyaml.Value, key string, text func(strictyaml.Value), more map[string]func(strictyaml.Value)) bool {
	if v.IsScalar() {
		text(v)
		return true
	}
	more[key] = text
	return v.Mapping(strictyaml.Shape{
		Noun:     key,
		Fields:   more,
		Required: []string{key},
		Hints: map[string]string{
			"name":   `write "domain"`,
			"match":  `write the domain as "=zoom.us" where that name alone is meant`,
			"cidr":   `write "network"`,
			"prefix": `write "network"`,
		},
	})
}

// readRole reads what a name or a prefix is for.
func readRole(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) { *into, _ = v.OneOf(roles...) }
}

func (app *App) readDomain(v strictyaml.Value) {
	d := AppDomain{Role: RoleCore}
	read := false
	ok := fact(v, "domain",
		func(v strictyaml.Value) { d.Pattern, read = readPattern(v) },
		map[string]func(strictyaml.Value){"role": readRole(&d.Role), "source": intoLine(&d.Source), "note": intoText(&d.Note)})
	if !ok || !read {
		return
	}
	if d.Kind == PatternRegexp {
		v.Errorf("an app cannot have regular expressions: which of its names is the longest must be known; write domains")
		return
	}
	same := func(other AppDomain) bool { return other.Kind == d.Kind && other.Name == d.Name }
	if i := slices.IndexFunc(app.Domains, same); i >= 0 {
		v.Errorf("domain %q is written twice: first at line %d", d.Text, app.Domains[i].Line)
		return
	}
	app.Domains = append(app.Domains, d)
}

func (app *App) readNetwork(v strictyaml.Value) {
	n := AppNetwork{Role: RoleCore}
	read := false
	ok := fact(v, "network",
		func(v strictyaml.Value) { n.Network, read = readNetwork(v, `: write names under "domains"`) },
		map[string]func(strictyaml.Value){"role": readRole(&n.Role), "source": intoLine(&n.Source), "note": intoText(&n.Note)})
	if !ok || !read {
		return
	}
	same := func(other AppNetwork) bool { return other.Prefix == n.Prefix }
	if i := slices.IndexFunc(app.Networks, same); i >= 0 {
		v.Errorf("network %s is written twice: first at line %d", n.Prefix, app.Networks[i].Line)
		return
	}
	app.Networks = append(app.Networks, n)
}

func (app *App) readPort(v strictyaml.Value) {
	var port AppPort
	read := false
	ok := fact(v, "port",
		func(v strictyaml.Value) { port.PortRange, read = readPortRange(v) },
		map[string]func(strictyaml.Value){"source": intoLine(&port.Source)})
	if ok && read {
		app.Ports = append(app.Ports, port)
	}
}
