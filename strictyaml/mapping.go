package strictyaml

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Shape says which keys a mapping may have.
type Shape struct {
	Noun     string                 // what the mapping is, for messages: "rule"
	Fields   map[string]func(Value) // called for each key that is there, in file order
	Required []string               // keys that must be there
	Hints    map[string]string      // what to say of a key that is not known but is easily tried
}

// Mapping reads a mapping with known keys, and reports whether the value is a
// mapping at all. Unknown, repeated and missing keys are errors.
func (v Value) Mapping(s Shape) bool {
	known := func(key, value Value) {
		field, ok := s.Fields[key.node.Value]
		if !ok {
			key.Errorf("unknown key %q in %s%s", key.node.Value, s.Noun, s.unknown(key.node.Value))
			return
		}
		field(value)
	}
	seen, ok := v.entries("a mapping", known)
	if !ok {
		return false
	}
	for _, key := range s.Required {
		if !seen[key] {
			v.Errorf("%s without %q%s", s.Noun, key, s.hint(key))
		}
	}
	return true
}

// unknown is the remedy for a key that a mapping of this shape cannot have.
func (s Shape) unknown(key string) string {
	if hint := s.hint(key); hint != "" {
		return hint
	}
	names := slices.Sorted(maps.Keys(s.Fields))
	if near := Nearest(key, names); near != "" {
		return ": did you mean \"" + near + "\"?"
	}
	return ": it can have " + strings.Join(names, ", ")
}

func (s Shape) hint(key string) string {
	if hint := s.Hints[key]; hint != "" {
		return ": " + hint
	}
	return ""
}

// Entries reads a mapping whose keys are names that the author chose, in file
// order, and reports whether the value is a mapping at all. A repeated key is
// an error.
func (v Value) Entries(visit func(key, value Value)) bool {
	_, ok := v.entries("a mapping from names", visit)
	return ok
}

// Has reports whether a mapping has a key, whatever stands behind it.
func (v Value) Has(key string) bool {
	content := v.resolved().Content
	for i := 0; v.IsMapping() && i+1 < len(content); i += 2 {
		if content[i].Value == key {
			return true
		}
	}
	return false
}

// entries walks the pairs of a mapping. The keys that visit sees are scalars
// with text, each once.
func (v Value) entries(want string, visit func(key, value Value)) (seen map[string]bool, ok bool) {
	if !v.IsMapping() {
		v.Errorf("%s must be %s, not %s", v.noun, want, v.kind())
		return nil, false
	}
	if !v.untagged() {
		return nil, false
	}
	content := v.resolved().Content
	seen = make(map[string]bool, len(content)/2)
	first := make(map[string]Value, len(content)/2)
	for i := 0; i+1 < len(content); i += 2 {
		key := v.child("key", "a key", content[i])
		text, ok := key.keyText()
		if !ok {
			continue
		}
		if earlier, repeated := first[text]; repeated {
			key.Errorf("key %q is written twice: first at line %d", text, earlier.Position().Line)
			continue
		}
		seen[text] = true
		first[text] = key
		key.node = key.resolved()
		visit(key, v.child(text, strconv.Quote(text), content[i+1]))
	}
	return seen, true
}

// keyText is the text of a mapping's key.
func (v Value) keyText() (string, bool) {
	n := v.resolved()
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!merge":
		v.Errorf(`merge keys ("<<") are not supported: write the keys out, or let an alias stand for a whole value`)
	case !v.IsScalar() || n.Value == "":
		v.Errorf("a key must be text, not %s", v.kind())
	case v.untagged():
		return n.Value, true
	}
	return "", false
}
