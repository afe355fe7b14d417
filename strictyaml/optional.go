package strictyaml

import "strings"

// OptionalLine reads a Line that may also be written as an empty text:
// `users: ""` says that there is no such file. A key with nothing at all
// behind it stays an error, as everywhere.
func (v Value) OptionalLine() (string, bool) {
	if v.IsScalar() && strings.TrimSpace(v.resolved().Value) == "" {
		return "", v.untagged()
	}
	return v.Line()
}
