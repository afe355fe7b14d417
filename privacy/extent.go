package privacy

import "fmt"

// Extent is how much is written of one thing that tells who somebody is.
type Extent uint8

// The choices. The zero value writes everything, as logs do that nobody has
// told otherwise.
const (
	Full Extent = iota
	Pseudonym
	None
)

// String is the name of the choice in the configuration.
func (e Extent) String() string {
	switch e {
	case Full:
		return "full"
	case Pseudonym:
		return "pseudonym"
	default:
		return "none"
	}
}

// ParseExtent reads the name that String writes. With an error comes None.
func ParseExtent(s string) (Extent, error) {
	for _, e := range []Extent{Full, Pseudonym, None} {
		if e.String() == s {
			return e, nil
		}
	}
	return None, fmt.Errorf("unknown choice %q: use full, pseudonym or none", s)
}

// Extents are the choices for everything that tells who somebody is.
type Extents struct {
	Client Extent // the address
	User   Extent
	Device Extent
}

// HidePeople reports whether addresses or users are hidden: then a log keeps
// free text to itself too, by which people may name themselves.
func (e Extents) HidePeople() bool { return e.Client != Full || e.User != Full }

// Pseudonyms reports whether any of them asks for pseudonyms, which need a key.
func (e Extents) Pseudonyms() bool {
	return e.Client == Pseudonym || e.User == Pseudonym || e.Device == Pseudonym
}
