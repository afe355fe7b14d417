package policy

import "github.com/sallyport/sallyport/strictyaml"

// named visits the entries of a section whose keys are names, each name once
// over all files.
func (p *parser) named(v strictyaml.Value, noun string, seen map[string]Position, read func(name string, key, value strictyaml.Value)) {
	v.Entries(func(key, value strictyaml.Value) {
		name, ok := key.Line()
		if !ok {
			return
		}
		if first, twice := seen[name]; twice {
			key.Errorf("%s %q is defined twice: first at %s", noun, name, first)
			return
		}
		seen[name] = key.Position()
		read(name, key, value)
	})
}

func (p *parser) readGroups(v strictyaml.Value) {
	p.named(v, "group", p.groups, func(name string, key, value strictyaml.Value) {
		if name == GroupUnclaimed {
			key.Errorf("group %q cannot be defined: it is every client that nothing else claims", name)
			return
		}
		identifier(key, "a group", name)
		g := Group{Position: key.Position(), Name: name}
		value.Mapping(strictyaml.Shape{
			Noun: "group",
			Fields: map[string]func(strictyaml.Value){
				"networks":  networks(&g.Networks, ""),
				"users":     references(&g.Users, CanonicalUser),
				"devices":   references(&g.Devices, CanonicalDevice),
				"directory": references(&g.Directory, asWritten),
				"groups":    references(&g.Groups, asWritten),
			},
			Hints: map[string]string{
				"except":  "only the who of a rule can have one",
				"ips":     `write addresses under "networks"`,
				"members": `write users under "users" and groups under "groups"`,
			},
		})
		p.doc.Groups = append(p.doc.Groups, g)
	})
}
