package policy

import "github.com/sallyport/sallyport/strictyaml"

// readWho reads the who of a rule. Only the outermost may have an except.
func (p *parser) readWho(v strictyaml.Value, outermost bool) Who {
	w := Who{Position: v.Position()}
	shape := strictyaml.Shape{
		Noun: "who",
		Fields: map[string]func(strictyaml.Value){
			"groups":   references(&w.Groups, asWritten),
			"users":    references(&w.Users, CanonicalUser),
			"networks": networks(&w.Networks, ""),
			"devices":  references(&w.Devices, CanonicalDevice),
		},
		Hints: map[string]string{
			"directory": "directory groups belong to a group under \"groups\"; name that group here",
			"except":    "an except cannot have an except of its own; use a second rule",
			"ip":        `write addresses under "networks"`,
		},
	}
	if outermost {
		shape.Fields["except"] = func(v strictyaml.Value) {
			except := p.readWho(v, false)
			w.Except = &except
		}
	}
	before := len(p.problems)
	v.Mapping(shape)
	if len(p.problems) == before && w.isEveryone() && w.Except == nil {
		v.Errorf("%q is empty: remove it, or say who is meant", v.Name())
	}
	return w
}
