package strictyaml

import (
	"strconv"

	"gopkg.in/yaml.v3"
)

// Value is a place in a file that holds something: a mapping, a list or a
// scalar. It is small and meant to be passed by value. Methods that read it
// add what is wrong to the Problems that were given to [Read].
type Value struct {
	file     string
	name     string // the key behind which it stands; for an item, the list's
	noun     string // what it is called in messages
	node     *yaml.Node
	problems *Problems
}

// Position is where the value begins; for an alias, where its target begins.
func (v Value) Position() Position {
	n := v.resolved()
	return Position{File: v.file, Line: n.Line, Column: n.Column}
}

// Errorf adds an error at the value's place.
func (v Value) Errorf(format string, args ...any) {
	v.problems.Errorf(v.Position(), format, args...)
}

// Warnf adds a warning at the value's place.
func (v Value) Warnf(format string, args ...any) {
	v.problems.Warnf(v.Position(), format, args...)
}

// Name is the key behind which the value stands; for an item of a list, the
// list's.
func (v Value) Name() string { return v.name }

// As is the value under another name for messages: "unknown door" reads better
// than "unknown doors".
func (v Value) As(noun string) Value {
	v.name, v.noun = noun, strconv.Quote(noun)
	return v
}

// child is a value inside v.
func (v Value) child(name, noun string, n *yaml.Node) Value {
	return Value{file: v.file, name: name, noun: noun, node: n, problems: v.problems}
}

// IsScalar reports whether the value is text, a number or the like.
func (v Value) IsScalar() bool { return v.resolved().Kind == yaml.ScalarNode && !v.IsEmpty() }

// IsList reports whether the value is a list.
func (v Value) IsList() bool { return v.resolved().Kind == yaml.SequenceNode }

// IsMapping reports whether the value is a mapping.
func (v Value) IsMapping() bool { return v.resolved().Kind == yaml.MappingNode }

// IsEmpty reports whether nothing is written: a key with no value behind it,
// or a null.
func (v Value) IsEmpty() bool { return isNull(v.resolved()) }

// resolved is the node that the value stands for.
func (v Value) resolved() *yaml.Node {
	n := v.node
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// kind is what the value is, for messages.
func (v Value) kind() string {
	switch {
	case v.IsEmpty():
		return "nothing"
	case v.IsMapping():
		return "a mapping"
	case v.IsList():
		return "a list"
	default:
		return "a single value"
	}
}

// untagged refuses explicit tags: nothing that is read here needs one, and
// they can only change what the reader sees.
func (v Value) untagged() bool {
	n := v.resolved()
	if n.Style&yaml.TaggedStyle == 0 {
		return true
	}
	v.Errorf("tag %q is not supported: write the value without it", n.Tag)
	return false
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
