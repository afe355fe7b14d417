package dnsfilter

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
)

// maxResolvConf bounds what is read of a resolv.conf; real ones are a few lines.
const maxResolvConf = 64 << 10

// SystemUpstreams returns the name servers that a resolv.conf file names, in
// its order and in the form that Config.Upstreams takes. It fails where the
// file cannot be read or names none.
func SystemUpstreams(resolvConfPath string) ([]string, error) {
	file, err := os.Open(resolvConfPath)
	if err != nil {
		return nil, fmt.Errorf("read the system's resolvers: %w", err)
	}
	defer file.Close()
	upstreams, err := readResolvConf(io.LimitReader(file, maxResolvConf))
	if err != nil {
		return nil, fmt.Errorf("read the system's resolvers from %q: %w", resolvConfPath, err)
	}
	if len(upstreams) == 0 {
		return nil, fmt.Errorf("%q names no resolver: set dns.upstreams", resolvConfPath)
	}
	return upstreams, nil
}

// readResolvConf reads "nameserver address" lines as resolv.conf(5) has them:
// anything else is passed over, and so is an address that is none.
func readResolvConf(r io.Reader) ([]string, error) {
	var upstreams []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(fields[1])
		if err != nil {
			continue
		}
		upstreams = append(upstreams, "udp://"+netip.AddrPortFrom(addr, 53).String())
	}
	return upstreams, lines.Err()
}
