package console

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// maxFacts bounds the names that one question may bring along.
const maxFacts = 64

// Question is what the explain command and GET /api/v1/explain ask, as
// written. Who is asking must be named in one way at least.
type Question struct {
	IP      string   // client address
	User    string   // user name
	Groups  []string // names of policy groups
	Device  string   // device identity
	Host    string   // a name or an address, with or without ":port"
	Port    string   // where Host has none
	Door    string   // dns or proxy; empty: proxy where there is a port, else dns
	At      string   // RFC 3339, with or without zone; empty: now
	Derived []string // what Host resolves to: CNAME targets and addresses
	Claimed []string // what else the client says of the destination: SNI, Host header
}

// questionFromQuery reads the parameters of GET /api/v1/explain. A parameter
// that does not exist is an error, since the answer would be to another
// question.
func questionFromQuery(values url.Values) (Question, error) {
	var q Question
	single := map[string]*string{
		"ip": &q.IP, "user": &q.User, "device": &q.Device, "host": &q.Host,
		"port": &q.Port, "door": &q.Door, "at": &q.At,
	}
	several := map[string]*[]string{"group": &q.Groups, "derived": &q.Derived, "claimed": &q.Claimed}
	for key, given := range values {
		given = slices.DeleteFunc(slices.Clone(given), func(s string) bool { return s == "" })
		switch {
		case several[key] != nil:
			*several[key] = given
		case single[key] == nil:
			return q, fmt.Errorf("unknown parameter %s: use ip, user, group, device, host, port, door, at, derived or claimed", quote(key))
		case len(given) > 1:
			return q, fmt.Errorf("parameter %s is given %d times", key, len(given))
		case len(given) == 1:
			*single[key] = given[0]
		}
	}
	return q, nil
}

// Ask puts the question to a program: the data path's own function answers.
// now stands in for a time that is not given. An error means that the question
// makes no sense, and says what would.
func (q Question) Ask(program *policy.Program, now time.Time) (policy.Explanation, error) {
	request, err := q.request(program, now)
	if err != nil {
		return policy.Explanation{}, err
	}
	return program.Explain(request), nil
}

// AskEngine is Ask for a gateway that runs: what clients have continued to
// counts, save for a time that is over, of which nobody knows who held what.
func (q Question) AskEngine(engine *policy.Engine, now time.Time) (policy.Explanation, error) {
	program := engine.Program()
	request, err := q.request(program, now)
	if err != nil {
		return policy.Explanation{}, err
	}
	if request.At.Before(now) {
		return program.Explain(request), nil
	}
	return engine.Explain(request), nil
}

func (q Question) request(program *policy.Program, now time.Time) (*policy.Request, error) {
	identity, err := q.identity(program)
	if err != nil {
		return nil, err
	}
	host, port, err := q.destination()
	if err != nil {
		return nil, err
	}
	door, err := q.door(port)
	if err != nil {
		return nil, err
	}
	at, err := q.time(program.Document().Location, now)
	if err != nil {
		return nil, err
	}
	derived, err := hosts("derived", q.Derived)
	if err != nil {
		return nil, err
	}
	claimed, err := hosts("claimed", q.Claimed)
	if err != nil {
		return nil, err
	}
	if door == policy.DoorDNS {
		port = 0 // a query has none: what the data path would ask
	}
	return &policy.Request{
		Subject: program.Subject(identity),
		Door:    door,
		At:      at,
		Port:    port,
		Host:    host,
		Derived: derived,
		Claimed: claimed,
	}, nil
}

func (q Question) identity(program *policy.Program) (policy.Identity, error) {
	if q.IP == "" && q.User == "" && len(q.Groups) == 0 && q.Device == "" {
		return policy.Identity{}, errors.New("nobody is asking: give ip, user, group or device")
	}
	identity := policy.Identity{User: policy.CanonicalUser(q.User), Groups: q.Groups, Source: "explain"}
	if q.IP != "" {
		addr, err := netip.ParseAddr(q.IP)
		if err != nil {
			return identity, fmt.Errorf("ip %s is not an address", quote(q.IP))
		}
		identity.Addr = addr.Unmap().WithZone("")
	}
	if q.Device != "" {
		identity.Devices = []string{policy.CanonicalDevice(q.Device)}
	}
	known := program.GroupNames()
	for _, group := range q.Groups {
		if !slices.Contains(known, group) {
			return identity, fmt.Errorf("unknown group %s: the policy has %s", quote(group), orNone(known))
		}
	}
	return identity, nil
}

// destination splits "host:port". An IPv6 address may stand without brackets
// where no port follows.
func (q Question) destination() (policy.Host, uint16, error) {
	if q.Host == "" {
		return policy.Host{}, 0, errors.New("no host is given: name the destination, as in us04web.zoom.us or zoom.us:443")
	}
	if strings.Contains(q.Host, "/") {
		return policy.Host{}, 0, fmt.Errorf("%s is not a host: give the host alone, without https:// and path", quote(q.Host))
	}
	name, portText := q.Host, q.Port
	if h, p, err := net.SplitHostPort(q.Host); err == nil {
		if q.Port != "" && q.Port != p {
			return policy.Host{}, 0, fmt.Errorf("two ports: %s and %s", quote(p), quote(q.Port))
		}
		name, portText = h, p
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	host, err := policy.ParseHost(name)
	if err != nil {
		return policy.Host{}, 0, err
	}
	if portText == "" {
		return host, 0, nil
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return policy.Host{}, 0, fmt.Errorf("port %s is not a number from 1 to 65535", quote(portText))
	}
	return host, uint16(port), nil
}

func (q Question) door(port uint16) (policy.Door, error) {
	switch {
	case q.Door != "":
		return policy.ParseDoor(q.Door)
	case port != 0:
		return policy.DoorProxy, nil
	default:
		return policy.DoorDNS, nil
	}
}

// time reads At in any of RFC 3339's precisions. Without a zone it is in the
// policy's.
func (q Question) time(zone *time.Location, now time.Time) (time.Time, error) {
	if q.At == "" {
		return now, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, q.At, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("at %s is not a time: write it as 2020-03-28, 2020-03-28T09:00 or 2020-03-28T09:00:00Z", quote(q.At))
}

func hosts(what string, names []string) ([]policy.Host, error) {
	if len(names) > maxFacts {
		return nil, fmt.Errorf("%d %s hosts: at most %d", len(names), what, maxFacts)
	}
	var all []policy.Host
	for _, name := range names {
		host, err := policy.ParseHost(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		all = append(all, host)
	}
	return all, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
