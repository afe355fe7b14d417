package gateway

import (
	"strings"

	"github.com/sallyport/sallyport/strictyaml"
)

// Settings of later versions. The keys are known, so that a configuration may
// carry them empty; a value that would turn one on is an error, because an
// administrator who writes it believes that the thing is there.

// laterListener reads a section whose listen must stay empty.
func laterListener(noun, what string, keys ...string) func(strictyaml.Value) {
	f := fields{}
	for _, key := range keys {
		f[key] = ignored
	}
	f["listen"] = func(v strictyaml.Value) {
		if v.IsEmpty() {
			ignored(v) // which says that the key has no value
			return
		}
		if v.IsList() && len(v.Lines()) == 0 {
			return
		}
		if text, ok := emptyText(v); ok && text == "" {
			return
		}
		v.Errorf("%s is not in this version: leave %s.listen empty", what, noun)
	}
	return section(noun, f)
}

// ignored reads a setting that only matters to a listener that is off.
func ignored(v strictyaml.Value) { _, _ = v.OptionalLine() }

// emptyText reads a text that may be empty, and nothing but a text.
func emptyText(v strictyaml.Value) (string, bool) {
	if !v.IsScalar() {
		return "", false
	}
	text, ok := v.OptionalLine()
	return strings.TrimSpace(text), ok
}
