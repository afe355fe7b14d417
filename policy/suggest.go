package policy

import (
	"fmt"
	"slices"

	"github.com/sallyport/sallyport/strictyaml"
)

// unknown is the message for a name that stands for nothing, with the nearest
// name that does: `unknown app "zom": did you mean "zoom"?`. Without a near one
// it lists the names, if they are few.
func unknown(noun, name string, known []string) string {
	message := fmt.Sprintf("unknown %s %q", noun, name)
	if near := strictyaml.Nearest(name, known); near != "" {
		return fmt.Sprintf("%s: did you mean %q?", message, near)
	}
	const few = 8
	if len(known) == 0 {
		return fmt.Sprintf("%s: the policy defines no %s", message, noun)
	}
	switch {
	case len(known) <= few:
	case noun == "app" || noun == "category":
		return message + ": sallyport apps lists what there is"
	default:
		return message
	}
	names := slices.Sorted(slices.Values(known))
	return fmt.Sprintf("%s: there is %s", message, join(names, "and"))
}

// join writes names as "a, b and c".
func join(names []string, conjunction string) string {
	text := ""
	for i, name := range names {
		switch {
		case i == 0:
		case i == len(names)-1:
			text += " " + conjunction + " "
		default:
			text += ", "
		}
		text += name
	}
	return text
}
