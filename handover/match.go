package handover

import (
	"net"
	"net/netip"
	"strconv"
)

// wanted is what a listener asks for.
type wanted struct {
	network string // tcp or udp
	name    string // of the listener
	asked   string // its address as configured, host:port
}

// How well a socket fits a listener.
const (
	fitsNot   = iota
	fitsLoose // every address of one family, where those of both were asked for
	fitsWide  // every address of both, where those of one were
	fitsWell
)

// best is the socket that fits best, the first of several; nil where none does.
func (w wanted) best(all []*inherited) *inherited {
	var best *inherited
	most := fitsNot
	for _, i := range all {
		if fit := w.fit(i); fit > most {
			best, most = i, fit
		}
	}
	return best
}

func (w wanted) fit(i *inherited) int {
	host, port, ok := w.split()
	switch {
	case !ok || i.network() != w.network:
		return fitsNot
	case port == 0: // nobody can have asked for a port that the kernel chose, but who had it before
		if i.asked == w.asked && i.name == w.name && i.from == fromPredecessor {
			return fitsWell
		}
		return fitsNot
	case port != i.bound.Port():
		return fitsNot
	case host == "":
		return fitWildcard(netip.IPv6Unspecified(), i)
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil: // a name: which address it stands for is not asked twice
		return fitsNot
	case addr.IsUnspecified():
		return fitWildcard(addr, i)
	case addr.Unmap() == i.bound.Addr():
		return fitsWell
	}
	return fitsNot
}

// fitWildcard is fit for every address of a machine. Package net opens a socket
// for both families where it is asked for the IPv4 one, too.
func fitWildcard(addr netip.Addr, i *inherited) int {
	bound := i.bound.Addr()
	switch {
	case !bound.IsUnspecified():
		return fitsNot
	case bound.Is4() == addr.Is4():
		return fitsWell
	case addr.Is4() && !i.only6:
		return fitsWide
	case addr.Is6():
		return fitsLoose
	}
	return fitsNot
}

func (w wanted) split() (host string, port uint16, ok bool) {
	host, text, err := net.SplitHostPort(w.asked)
	if err != nil {
		return "", 0, false
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return host, uint16(n), err == nil
}

func (w wanted) anyPort() bool {
	_, port, ok := w.split()
	return ok && port == 0
}
