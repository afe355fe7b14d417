package policy

import "github.com/sallyport/sallyport/strictyaml"

// readWhat reads the what of a rule. Only the outermost may have ports and an
// except.
func (p *parser) readWhat(v strictyaml.Value, outermost bool) What {
	w := What{Position: v.Position()}
	shape := strictyaml.Shape{
		Noun: "what",
		Fields: map[string]func(strictyaml.Value){
			"apps":       references(&w.Apps, asWritten),
			"categories": references(&w.Categories, asWritten),
			"domains":    patterns(&w.Domains),
			"lists":      references(&w.Lists, asWritten),
			"networks":   networks(&w.Networks, `: write names under "domains"`),
		},
		Hints: map[string]string{
			"except": "an except cannot have an except of its own; use a second rule",
			"ports":  "an except cannot have ports; use a second rule",
		},
	}
	if outermost {
		shape.Fields["ports"] = ports(&w.Ports)
		shape.Fields["except"] = func(v strictyaml.Value) {
			except := p.readWhat(v, false)
			w.Except = &except
		}
	}
	before := len(p.problems)
	v.Mapping(shape)
	if len(p.problems) == before && !w.selects() && w.Except == nil {
		v.Errorf("%q is empty: remove it, or say what is meant", v.Name())
	}
	return w
}

// selects reports whether something narrows the what, except aside.
func (w *What) selects() bool {
	return w.selectsDestinations() || len(w.Ports) > 0
}

// selectsDestinations reports whether the what names destinations.
func (w *What) selectsDestinations() bool {
	return len(w.Apps) > 0 || len(w.Categories) > 0 || len(w.Domains) > 0 || len(w.Lists) > 0 || len(w.Networks) > 0
}

// patterns makes a field that is a list of domains.
func patterns(into *[]Pattern) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		items(v, func(item strictyaml.Value) {
			if pattern, ok := readPattern(item); ok {
				*into = append(*into, pattern)
			}
		})
	}
}

// readPattern reads one domain.
func readPattern(v strictyaml.Value) (Pattern, bool) {
	text, ok := v.Line()
	if !ok {
		return Pattern{}, false
	}
	pattern, err := ParsePattern(text)
	if err != nil {
		v.Errorf("%v", err)
		return Pattern{}, false
	}
	pattern.Position = v.Position()
	return pattern, true
}
