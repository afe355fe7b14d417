package policy

import (
	"time"

	"github.com/sallyport/sallyport/strictyaml"
)

// parser is what reading one policy needs to remember from one file to the
// next.
type parser struct {
	doc      *Document
	problems Problems
	settings map[string]Position // top-level settings that can be given once
	groups   map[string]Position
	apps     map[string]Position
	lists    map[string]Position
	zones    map[string]*time.Location
	later    []func() // sections, read once the settings of all files are known
}

// Parse reads a policy from its files, in the order given, and joins them:
// groups, apps and lists are put together, rules, exceptions and tests follow
// one another, and what can be said only once may stand in any file. All
// problems of form are reported, in source order; whether names refer to
// anything is checked by Validate.
//
// The document is nil where a file is not YAML at all. Otherwise it holds
// whatever could be read, so that Validate can report what else is wrong; it
// must not be put in force when the problems have errors.
func Parse(files []File) (*Document, Problems) {
	p := &parser{
		doc:      &Document{Location: time.UTC},
		settings: map[string]Position{},
		groups:   map[string]Position{},
		apps:     map[string]Position{},
		lists:    map[string]Position{},
		zones:    map[string]*time.Location{},
	}
	readable := len(files) > 0
	for _, f := range files {
		p.doc.Files = append(p.doc.Files, f.Name)
		root, ok := strictyaml.Read(f.Name, f.Data, &p.problems)
		readable = readable && ok && root.Mapping(p.top())
	}
	if len(files) == 0 {
		p.problems.Errorf(Position{}, "there is no policy file: a policy is one YAML file, or a folder with at least one")
	}
	if readable {
		p.missing(Position{File: files[0].Name, Line: 1, Column: 1})
	}
	for _, section := range p.later {
		section()
	}
	p.doc.Organisation.Zone = p.doc.Location
	p.problems.Sort(p.doc.Files)
	if !readable {
		return nil, p.problems
	}
	return p.doc, p.problems
}

// top is the shape of a policy file.
func (p *parser) top() strictyaml.Shape {
	return strictyaml.Shape{
		Noun: "policy",
		Fields: map[string]func(strictyaml.Value){
			"version":      p.once(p.version),
			"timezone":     p.once(p.timezone),
			"organisation": p.once(p.organisation),
			"enforcement":  p.once(func(v strictyaml.Value) { p.doc.ReportOnly = reportOnly(v) }),
			"default":      p.once(p.fallback),
			"groups":       p.section(p.readGroups),
			"apps":         p.section(p.readApps),
			"lists":        p.section(p.readLists),
			"rules":        p.section(p.readRules),
			"exceptions":   p.section(p.readExceptions),
			"tests":        p.section(p.readTests),
		},
		Hints: map[string]string{"organization": `write "organisation"`},
	}
}

// once makes a field that can stand in one file only.
func (p *parser) once(read func(strictyaml.Value)) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		if first, given := p.settings[v.Name()]; given {
			v.Errorf("%q is given twice: first at %s", v.Name(), first)
			return
		}
		p.settings[v.Name()] = v.Position()
		read(v)
	}
}

// section makes a field that is read after the settings of every file: a time
// in the first file may depend on the timezone in the last.
func (p *parser) section(read func(strictyaml.Value)) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		p.later = append(p.later, func() { read(v) })
	}
}

// missing reports settings that no file gives. Without a default the policy
// allows what it does not name: it is a list of what is not approved, and one
// forgotten line must not take a company off the network.
func (p *parser) missing(at Position) {
	if _, given := p.settings["version"]; !given {
		p.problems.Errorf(at, `the policy has no version: write "version: 1" at the top`)
	}
	if _, p.doc.DefaultGiven = p.settings["default"]; !p.doc.DefaultGiven {
		p.doc.Default = ActionAllow
		p.problems.Warnf(at, `the policy does not say what happens to a request that no rule matches: it is allowed; write "default: allow" or "default: block"`)
	}
}

func (p *parser) version(v strictyaml.Value) {
	if text, ok := v.Line(); ok && text != "1" {
		v.Errorf("version %q is not supported: this release reads version 1", text)
	}
}

func (p *parser) timezone(v strictyaml.Value) {
	if zone, ok := p.zone(v); ok {
		p.doc.Location = zone
	}
}

func (p *parser) organisation(v strictyaml.Value) {
	v.Mapping(strictyaml.Shape{
		Noun: "organisation",
		Fields: map[string]func(strictyaml.Value){
			"name":    intoLine(&p.doc.Organisation.Name),
			"contact": intoLine(&p.doc.Organisation.Contact),
		},
	})
}

func (p *parser) fallback(v strictyaml.Value) {
	if text, ok := v.OneOf("allow", "block"); ok && text == "allow" {
		p.doc.Default = ActionAllow
	}
}

// reportOnly reads an enforcement.
func reportOnly(v strictyaml.Value) bool {
	text, _ := v.OneOf("report-only", "enforce")
	return text == "report-only"
}

// intoLine makes a field that is one line of text.
func intoLine(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) { *into, _ = v.Line() }
}

// intoText makes a field that is text of any number of lines.
func intoText(into *string) func(strictyaml.Value) {
	return func(v strictyaml.Value) { *into, _ = v.Text() }
}

// items visits a list that cannot be empty: as a selector, an empty list would
// read as "none" to one person and as "no restriction" to another.
func items(v strictyaml.Value, visit func(strictyaml.Value)) {
	if v.IsList() && v.Len() == 0 {
		v.Errorf("%q is an empty list: remove the key, or say what belongs to it", v.Name())
		return
	}
	v.Items(visit)
}

// references reads a list of names into into, each in the form that canonical
// gives it.
func references(into *[]Reference, canonical func(string) string) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		items(v, func(item strictyaml.Value) {
			if text, ok := item.Line(); ok {
				*into = append(*into, Reference{Position: item.Position(), Name: canonical(text)})
			}
		})
	}
}

// asWritten is the canonical form of names that have only one.
func asWritten(s string) string { return s }
