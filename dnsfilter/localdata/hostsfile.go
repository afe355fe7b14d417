package localdata

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// Bounds of one hosts file.
const (
	maxHostsFiles = 16
	maxLineBytes  = 64 << 10
	maxAddrs      = 64 // of one name
)

// hostsLimits bound what is read of one file.
type hostsLimits struct {
	bytes   int64
	entries int
}

func fileLimits() hostsLimits { return hostsLimits{bytes: 64 << 20, entries: 1_000_000} }

// hostsFile is a file, how it looked when it was last looked at, and what it
// held when it could last be read.
type hostsFile struct {
	path string
	seen os.FileInfo // nil: it could not even be looked at
	held *hosts
}

// changed reports whether the file looks different from when it was read. A
// file that was missing before and still is has not changed.
func (f *hostsFile) changed() bool {
	info, err := os.Stat(f.path)
	if err != nil || f.seen == nil {
		return (err == nil) != (f.seen != nil)
	}
	return !os.SameFile(info, f.seen) || info.Size() != f.seen.Size() ||
		!info.ModTime().Equal(f.seen.ModTime()) || info.Mode() != f.seen.Mode()
}

// read reads the file anew. What it held stays where that fails.
func (f *hostsFile) read(t *tree) error {
	info, err := os.Stat(f.path)
	if err != nil {
		f.seen = nil
		return fmt.Errorf("hosts file %q: %w: create it, or take it out of dns.hosts", f.path, err)
	}
	f.seen = info // from before reading, so that a change meanwhile is seen
	if !info.Mode().IsRegular() {
		return fmt.Errorf("hosts file %q: not a regular file", f.path)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("hosts file %q: %w", f.path, err)
	}
	defer file.Close()
	held, err := parseHosts(file, fileLimits())
	if err != nil {
		return fmt.Errorf("hosts file %q: %w", f.path, err)
	}
	held.finish(t)
	f.held = held
	return nil
}

// parseHosts reads hosts(5): an address and its names a line, # to the end of
// the line. A line that makes no sense fails the whole file, because half of
// one would lose names silently; so do excesses.
func parseHosts(r io.Reader, limits hostsLimits) (*hosts, error) {
	h := &hosts{names: make(map[string]uint32)}
	limited := &io.LimitedReader{R: r, N: limits.bytes + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(make([]byte, 0, 4096), maxLineBytes)
	var problems []error
	number := 0
	for lines.Scan() {
		number++
		line := lines.Bytes()
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\xEF\xBB\xBF")) // written by some editors
		}
		if err := h.addLine(line); err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", number, err))
		}
		if len(problems) == maxProblems {
			break
		}
		if len(h.entries) > limits.entries {
			return nil, fmt.Errorf("line %d: more than %d entries: a list of names to refuse belongs in the policy's lists", number, limits.entries)
		}
	}
	if limited.N == 0 {
		return nil, fmt.Errorf("larger than %d bytes", limits.bytes)
	}
	if err := lines.Err(); err != nil {
		problems = append(problems, fmt.Errorf("line %d: %w", number+1, err))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return h, nil
}

func (h *hosts) addLine(line []byte) error {
	if i := bytes.IndexByte(line, '#'); i >= 0 {
		line = line[:i]
	}
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return nil
	}
	fields := strings.Fields(string(line)) // one allocation holds the whole line's names
	addr, err := netip.ParseAddr(fields[0])
	if err != nil {
		return fmt.Errorf("%q is no address: a line is an address and then its names", fields[0])
	}
	if len(fields) == 1 {
		return fmt.Errorf("address %s has no name behind it", addr)
	}
	addr = addr.Unmap()
	if ownOnly(addr) {
		return nil
	}
	first := true
	for _, field := range fields[1:] {
		name, skip, err := hostName(field)
		if err != nil {
			return err
		}
		if skip {
			continue
		}
		if !h.add(name, addr) {
			return fmt.Errorf("%q has more than %d addresses", field, maxAddrs)
		}
		if first {
			h.addPointer(name, addr) // the first name is the official one
			first = false
		}
	}
	return nil
}

// ownOnly reports whether an address makes sense only on the machine whose
// hosts file it is in: one of a network card (fe80::1), a multicast group
// (ff02::1 ip6-allnodes), or 127.0.1.1, by which Debian names the machine
// itself. 127.0.0.1 and 0.0.0.0 stay: they are how such files refuse names.
func ownOnly(a netip.Addr) bool {
	return a.Zone() != "" || a.Is6() && a.IsLinkLocalUnicast() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{127, 0, 1, 1}) ||
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// hostName reads a name; skip is true for those that mean the machine whose
// file it is, for what is always special, and for addresses in a name's place,
// which files of refused names begin with ("0.0.0.0 0.0.0.0").
func hostName(field string) (wire string, skip bool, err error) {
	for _, c := range []byte(field) {
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.':
		case c == ':' || c == '%':
			if _, err := netip.ParseAddr(field); err == nil {
				return "", true, nil
			}
			return "", false, fmt.Errorf("%q is no name", field)
		case c == '*':
			return "", false, fmt.Errorf("%q: hosts files have no wildcards; write a record in dns.records", field)
		case c > '~':
			return "", false, fmt.Errorf("%q: write it in its ASCII form (xn--...)", field)
		default:
			return "", false, fmt.Errorf("%q is no name: only letters, digits, '-', '_' and '.'", field)
		}
	}
	if _, err := netip.ParseAddr(field); err == nil {
		return "", true, nil
	}
	wire, err = dnswire.WireName(field)
	if err != nil {
		return "", false, err
	}
	if wire == "\x00" {
		return "", false, fmt.Errorf("%q is no name of a host", field)
	}
	special, _ := alwaysSpecial(wire)
	return wire, special || machineName(wire), nil
}

// machineName lists the names that systems put in their own hosts file.
func machineName(wire string) bool {
	switch wire {
	case "\x0dip6-localhost\x00", "\x0cip6-loopback\x00", "\x0cip6-localnet\x00", "\x0fip6-mcastprefix\x00",
		"\x0cip6-allnodes\x00", "\x0eip6-allrouters\x00", "\x0cip6-allhosts\x00", "\x0dbroadcasthost\x00",
		"\x05local\x00":
		return true
	default:
		return false
	}
}
