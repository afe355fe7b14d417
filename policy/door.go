package policy

import "fmt"

// Door names an enforcement point. The zero value is no door at all.
type Door uint8

// The two doors of the gateway.
const (
	DoorDNS   Door = 1 // names, before a connection exists
	DoorProxy Door = 2 // connections, with ports and credentials in sight
)

// doorCount sizes arrays that are indexed by Door.
const doorCount = 3

// Doors lists every door, in the order in which tables and reports show them.
func Doors() []Door { return []Door{DoorDNS, DoorProxy} }

// String is the door's name in policies, logs and metric labels.
func (d Door) String() string {
	switch d {
	case DoorDNS:
		return "dns"
	case DoorProxy:
		return "proxy"
	default:
		return "none"
	}
}

// ParseDoor reads the name that String writes.
func ParseDoor(s string) (Door, error) {
	for _, d := range Doors() {
		if d.String() == s {
			return d, nil
		}
	}
	return 0, fmt.Errorf("unknown door %q: use dns or proxy", s)
}
