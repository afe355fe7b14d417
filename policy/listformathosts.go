package policy

import "net/netip"

// Why a line of a hosts file is passed over.
const (
	skipRealAddress = "a hosts line that maps a name to a real address"
	skipOwnName     = "a hosts line for the machine's own names"
)

// hostsKind is what the address of a hosts line says.
type hostsKind uint8

const (
	notAddress  hostsKind = iota // no hosts line at all
	nullAddress                  // leads nowhere: the names are blocked
	realAddress                  // leads somewhere: the names are looked up
)

// readHosts reads a line of a hosts file: an address and the names that lead to
// it, each exactly. It returns why it could not, or "".
func (b *listBuilder) readHosts(address, names []byte) (reason string) {
	switch hostsAddress(address) {
	case notAddress:
		return skipWords
	case realAddress:
		return skipRealAddress
	}
	for name, rest := cutWord(names); len(name) > 0 && name[0] != '#'; name, rest = cutWord(rest) {
		if own := b.addHostsName(name); own != "" && reason == "" {
			reason = own
		}
	}
	return reason
}

func (b *listBuilder) addHostsName(name []byte) (reason string) {
	if plain, dots, ok := b.plainName(name); ok && dots > 0 && !isOwnName(plain) {
		b.addName(plain, listExact)
		return ""
	} else if ok && isOwnName(plain) {
		return skipOwnName
	}
	if hostsAddress(name) != notAddress {
		return skipOwnName // "0.0.0.0 0.0.0.0", which many lists have
	}
	return b.add(name, listExact, 1)
}

// hostsAddress tells what the first word of a hosts line is.
func hostsAddress(word []byte) hostsKind {
	switch string(word) {
	case "0.0.0.0", "127.0.0.1", "::", "::1":
		return nullAddress
	}
	if len(word) == 0 || !isAddressByte(word[0]) {
		return notAddress
	}
	addr, err := netip.ParseAddr(string(word))
	switch {
	case err != nil:
		return notAddress
	case addr.IsUnspecified() || addr.Unmap().IsLoopback():
		return nullAddress
	default:
		return realAddress
	}
}

func isAddressByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' || c == ':'
}

// isOwnName reports whether a name is one that hosts files give to the machine
// itself and to groups of machines on its link.
func isOwnName(name []byte) bool {
	switch string(name) {
	case "localhost", "localhost.localdomain", "localhost4", "localhost6", "localhost4.localdomain4",
		"localhost6.localdomain6", "local", "broadcasthost", "ip6-localhost", "ip6-loopback", "ip6-localnet",
		"ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts":
		return true
	}
	return false
}
