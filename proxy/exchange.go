package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// exchange is one request on its way through the door. It goes from guard to
// guard; each guard either lets it go on or has answered it. An exchange belongs
// to one goroutine until a tunnel takes it over.
type exchange struct {
	asking
	server *Server

	id    string // of the decision
	began time.Time
	at    time.Time // by the decision clock

	request  policy.Request
	hidden   bool  // of a redirected connection: as helloReader has it
	unproven error // why the credentials that were sent say nothing
	verdict  policy.Verdict
	addrs    []netip.Addr  // that may be dialled: checked
	took     time.Duration // until it was answered; 0: not yet
	recorded bool
	account  *account // nil: nobody asks
}

func (s *Server) newExchange(a asking) *exchange {
	began := time.Now()
	return &exchange{
		asking:  a,
		server:  s,
		id:      s.identifiers.next(),
		began:   began,
		at:      s.dependencies.Now(),
		account: s.newAccount(&a, began),
	}
}

// admitted lets in the clients that may use the proxy at all. Nothing that the
// request says is looked at before.
func (x *exchange) admitted() bool {
	if contains(x.server.config.Clients, x.client) {
		return x.moderate()
	}
	x.say(http.StatusForbidden, "this proxy does not serve your address\n")
	return false
}

// identified finds out who asks. Credentials that do not stand leave the client
// without a user name, as if it had sent none: whether that matters is for the
// policy to say. Browsers send them along with everything once they have been
// asked.
func (x *exchange) identified() bool {
	identify := x.server.dependencies.Identify
	if x.server.config.CanAuthenticate {
		if x.credentials != "" {
			subject, err := identify(x.client, x.credentials)
			if err == nil {
				x.request.Subject = x.proven(subject)
				return true
			}
			x.unproven = err
		}
	}
	subject, err := identify(x.client, "")
	if err != nil {
		x.unproven = err
		x.askWho()
		return false
	}
	x.request.Subject = x.proven(subject)
	return true
}

// decided asks the policy about what is known by now, and answers where it
// refuses or needs a user name.
func (x *exchange) decided() bool {
	x.request.At = x.server.dependencies.Now()
	x.verdict = x.server.dependencies.Decider.Decide(&x.request)
	if x.verdict.NeedsUser && x.server.config.CanAuthenticate && x.request.Subject.User == "" {
		if x.original.IsValid() && !x.verdict.Action.Refuses() {
			x.verdict = needsSignIn(x.verdict, x.request.Host) // nobody can be asked
			x.refuse()
			return false
		}
		if !x.original.IsValid() {
			x.askWho()
			return false
		}
	}
	if x.verdict.Action.Refuses() {
		x.refuse()
		return false
	}
	return true
}

// located finds the addresses of the destination, has everything judged that
// the name's owner derived from it, and keeps the addresses that may be
// dialled. An address needs no resolving, but may carry another one.
func (x *exchange) located() bool {
	if x.original.IsValid() {
		return x.locatedAt(x.original.Addr())
	}
	addresses := []netip.Addr{x.request.Host.Addr()}
	if !x.request.Host.IsAddr() {
		if !x.server.dialer.NeedsAddrs(x.request.Host.Name()) {
			return true // a parent finds it: there is nothing else to judge
		}
		resolution, err := x.resolve()
		if err != nil {
			// What was found on the way may be reason enough to refuse, and a
			// refusal tells more than an error.
			x.request.Derived = resolution.Facts
			if len(resolution.Facts) > 0 && !x.decided() {
				return false
			}
			x.record()
			x.unreachable(err)
			return false
		}
		addresses = resolution.Addrs
		x.request.Derived = resolution.Facts
	}
	x.request.Derived = derive(x.request.Host, x.request.Derived, addresses)
	if len(x.request.Derived) > 0 && !x.decided() {
		return false
	}
	x.addrs = x.server.networks.allowed(addresses, x.request.Port)
	if len(x.addrs) == 0 {
		x.verdict = deniedNetwork(x.verdict, x.request.Host)
		x.refuse()
		return false
	}
	return true
}

// unlooped lets go on what has not been here before: a parent may lead back.
func (x *exchange) unlooped() bool {
	if !passedBefore(x.via, x.server.pseudonym) {
		return true
	}
	x.record()
	x.say(http.StatusLoopDetected, "the request has been through this proxy before\n")
	return false
}

// maxAddresses bounds how many addresses of one name are considered.
const maxAddresses = 32

func (x *exchange) resolve() (Resolution, error) {
	ctx, cancel := context.WithTimeout(x.ctx, x.server.config.Timeouts.Dial)
	defer cancel()
	resolution, err := x.server.dependencies.Resolve(ctx, x.request.Host.Name())
	if err != nil {
		return resolution, &resolveError{err: err, none: x.server.dependencies.NoAddress(err)}
	}
	if len(resolution.Addrs) == 0 {
		return resolution, &resolveError{err: errors.New("the name has no address"), none: true}
	}
	if len(resolution.Addrs) > maxAddresses {
		resolution.Addrs = resolution.Addrs[:maxAddresses]
	}
	return resolution, nil
}

// derive adds to facts the addresses, and the IPv4 addresses inside them,
// each once. It never writes to the slice that it is given.
func derive(host policy.Host, facts []policy.Host, addresses []netip.Addr) []policy.Host {
	list := facts[:len(facts):len(facts)]
	add := func(h policy.Host) {
		if h == host {
			return
		}
		for _, known := range list {
			if known == h {
				return
			}
		}
		list = append(list, h)
	}
	for _, a := range addresses {
		add(policy.HostFromAddr(a))
		for _, inner := range policy.EmbeddedAddrs(a) {
			add(policy.HostFromAddr(inner))
		}
	}
	return list
}

// destination is what the user wanted to see, as a URL, as far as it is known.
func (x *exchange) destination() string {
	if x.url != "" {
		return x.url
	}
	if x.request.Port == 80 {
		return "http://" + authorityOf(x.request.Host, 80, 80) + "/"
	}
	return "https://" + authorityOf(x.request.Host, x.request.Port, 443) + "/"
}

// forget lets go of the request's memory: a tunnel lives long.
func (x *exchange) forget() {
	x.asking = asking{client: x.client, method: x.method, transport: x.transport}
}

// record hands the verdict over, once a request (but see recordAgain), and returns what it handed
// over.
func (x *exchange) record() *policy.Decision {
	d := x.decision()
	if !x.recorded {
		x.recorded = true
		x.server.dependencies.Record(d)
	}
	return d
}

// recordAgain hands over a second decision, with an id of its own, on what was
// recorded before, and how long that took.
func (x *exchange) recordAgain(took time.Duration) *policy.Decision {
	d := x.decision()
	d.ID, d.Time, d.Duration = x.server.identifiers.next(), x.server.dependencies.Now(), took
	x.server.dependencies.Record(d)
	return d
}

// decision describes the exchange as it stands.
func (x *exchange) decision() *policy.Decision {
	facts := x.request.Derived
	if len(x.request.Claimed) > 0 {
		facts = append(facts[:len(facts):len(facts)], x.request.Claimed...)
	}
	took := x.took
	if took == 0 {
		took = time.Since(x.began)
	}
	return &policy.Decision{
		ID:        x.id,
		Time:      x.at,
		Door:      policy.DoorProxy,
		Transport: x.transport,
		Client:    x.client,
		Subject:   x.request.Subject,
		Host:      x.request.Host,
		Port:      x.request.Port,
		Facts:     facts,
		Verdict:   x.verdict,
		Duration:  took,
	}
}
