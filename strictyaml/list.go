package strictyaml

import "strings"

// Items calls visit for each item of a list, in order, and reports whether the
// value is a list at all. A single scalar is taken for a list of one, except
// where it holds a comma: then it is not clear what was meant, and the error
// says how to write either. Items that are empty are errors and not visited.
func (v Value) Items(visit func(Value)) bool {
	switch {
	case v.IsScalar():
		return v.only(visit)
	case !v.IsList():
		v.Errorf("%s must be a list, not %s", v.noun, v.kind())
		return false
	case !v.untagged():
		return false
	}
	for _, n := range v.resolved().Content {
		item := v.child(v.name, "an item of "+v.noun, n)
		if item.IsEmpty() {
			item.Errorf("%s is empty: remove it or give it a value", item.noun)
			continue
		}
		visit(item)
	}
	return true
}

// only visits a scalar that stands where a list may.
func (v Value) only(visit func(Value)) bool {
	text := v.resolved().Value
	if strings.Contains(text, ",") {
		v.Errorf("%s must be a list: write [%s] for several values, or [%q] for one with a comma in it", v.noun, text, text)
		return false
	}
	visit(v)
	return true
}

// Lines reads a list of one-line texts. What cannot be read is left out.
func (v Value) Lines() []string {
	var lines []string
	v.Items(func(item Value) {
		if line, ok := item.Line(); ok {
			lines = append(lines, line)
		}
	})
	return lines
}

// Len is the number of items of a list, empty ones included; 1 for a scalar
// that may stand for a list, 0 for anything else.
func (v Value) Len() int {
	switch {
	case v.IsList():
		return len(v.resolved().Content)
	case v.IsScalar():
		return 1
	default:
		return 0
	}
}
