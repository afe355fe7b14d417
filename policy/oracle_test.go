package policy_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// oracle decides by reading the document rule by rule, with no tables: slow,
// plain, and independent of the compiled form.
type oracle struct {
	doc    *policy.Document
	apps   []*policy.App
	grants heldGrants
}

// TestTablesAgreeWithPlainReading holds the compiled tables against the oracle.
func TestTablesAgreeWithPlainReading(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	for range 30 {
		text := randomPolicy(rng)
		program := compileRandom(t, text)
		o := &oracle{doc: program.Document(), apps: program.Apps()}
		for range 250 {
			r := randomRequest(rng, program)
			got := program.Decide(&r)
			action, rule := o.decide(&r)
			if got.Action != action || got.RuleName() != rule {
				t.Fatalf("tables: %s by %s, plain reading: %s by %s\n%+v\n%s", got.Action, got.RuleName(), action, rule, r, text)
			}
		}
	}
}

func (o *oracle) decide(r *policy.Request) (policy.Action, string) {
	action, rule := o.judge(r, r.Host, r.Derived)
	for _, claim := range r.Claimed {
		if claim == r.Host {
			continue
		}
		if a, by := o.judge(r, claim, nil); a < action {
			action, rule = a, by
		}
	}
	return action, rule
}

func (o *oracle) judge(r *policy.Request, base policy.Host, derived []policy.Host) (policy.Action, string) {
	alone, index := o.firstRule(r, base, base)
	if alone.Action != policy.ActionAllow && !o.lets(r, &alone, base, base) {
		return alone.Action, alone.Name
	}
	alone.Action = policy.ActionAllow
	// Each fact by its own first rule; the earliest that refuses decides.
	for _, fact := range derived {
		if rule, at := o.firstRule(r, fact, base); at < index && rule.Action != policy.ActionAllow && !o.lets(r, &rule, base, fact) {
			alone, index = rule, at
		}
	}
	return alone.Action, alone.Name
}

// firstRule is the first rule in force that matches a fact of base.
func (o *oracle) firstRule(r *policy.Request, fact, base policy.Host) (policy.Rule, int) {
	all := slices.Concat(o.doc.Exceptions, o.doc.Rules)
	for i, rule := range all {
		terminal := rule.Action != policy.ActionMonitor && (rule.Action == policy.ActionAllow || !rule.ReportOnly)
		if terminal && o.matches(r, &rule, base, fact) {
			return rule, i
		}
	}
	return policy.Rule{Name: policy.DefaultRule, Action: o.doc.Default}, len(all)
}

func (o *oracle) matches(r *policy.Request, rule *policy.Rule, base, fact policy.Host) bool {
	if len(rule.Doors) > 0 && !slices.Contains(rule.Doors, r.Door) {
		return false
	}
	if !inForce(&rule.When, r.At) || !o.isWho(&r.Subject.Identity, &rule.Who) || !portFits(rule.What.Ports, r) {
		return false
	}
	if rule.What.Except != nil && o.selects(rule.What.Except, base, policy.Host{}) {
		return false
	}
	origin := policy.Host{}
	if fact != base {
		origin = base
	}
	if rule.What.Except != nil && o.selects(rule.What.Except, fact, policy.Host{}) {
		return false
	}
	return isEverything(&rule.What) || o.selects(&rule.What, fact, origin)
}

func inForce(w *policy.When, at time.Time) bool {
	if !w.From.IsZero() && at.Before(w.From) || !w.Until.IsZero() && !at.Before(w.Until) {
		return false
	}
	if len(w.Hours) == 0 {
		return true
	}
	local := at.In(w.Zone)
	minute := local.Hour()*60 + local.Minute()
	yesterday := (local.Weekday() + 6) % 7
	for _, h := range w.Hours {
		if h.Close > h.Open {
			if h.Days[local.Weekday()] && minute >= h.Open && minute < h.Close {
				return true
			}
			continue
		}
		if h.Days[local.Weekday()] && minute >= h.Open || h.Days[yesterday] && minute < h.Close {
			return true
		}
	}
	return false
}

func portFits(ports []policy.PortRange, r *policy.Request) bool {
	return len(ports) == 0 || r.Port != 0 && slices.ContainsFunc(ports, func(p policy.PortRange) bool {
		return (p.Any || p.Protocol == r.Protocol) && p.From <= r.Port && r.Port <= p.To
	})
}

func (o *oracle) isWho(id *policy.Identity, who *policy.Who) bool {
	everyone := len(who.Groups)+len(who.Users)+len(who.Networks)+len(who.Devices) == 0
	return (everyone || o.claims(id, who)) && (who.Except == nil || !o.claims(id, who.Except))
}

func (o *oracle) claims(id *policy.Identity, who *policy.Who) bool {
	for _, g := range who.Groups {
		if g.Name == policy.GroupUnclaimed && o.unclaimed(id) || o.inGroup(id, g.Name) {
			return true
		}
	}
	return slices.ContainsFunc(who.Users, func(u policy.Reference) bool { return u.Name == id.User }) || inNetworks(who.Networks, id.Addr)
}

func (o *oracle) unclaimed(id *policy.Identity) bool {
	return id.User == "" && !slices.ContainsFunc(o.doc.Groups, func(g policy.Group) bool { return o.inGroup(id, g.Name) })
}

func (o *oracle) inGroup(id *policy.Identity, name string) bool {
	at := slices.IndexFunc(o.doc.Groups, func(g policy.Group) bool { return g.Name == name })
	if at < 0 {
		return false
	}
	g := &o.doc.Groups[at]
	return inNetworks(g.Networks, id.Addr) ||
		slices.ContainsFunc(g.Users, func(u policy.Reference) bool { return u.Name == id.User }) ||
		slices.ContainsFunc(g.Groups, func(nested policy.Reference) bool { return o.inGroup(id, nested.Name) })
}

func inNetworks(networks []policy.Network, addr netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n policy.Network) bool { return n.Prefix.Contains(addr) })
}

func isEverything(w *policy.What) bool {
	return len(w.Apps)+len(w.Categories)+len(w.Domains)+len(w.Lists)+len(w.Networks) == 0
}

// selects reports whether a selector names the host. origin is the name that
// the host derives from, if any: apps that share it do not count.
func (o *oracle) selects(what *policy.What, h, origin policy.Host) bool {
	for _, app := range o.apps {
		chosen := slices.ContainsFunc(what.Apps, func(r policy.Reference) bool { return r.Name == app.ID }) ||
			slices.ContainsFunc(what.Categories, func(r policy.Reference) bool {
				return app.Category == r.Name || strings.HasPrefix(app.Category, r.Name+"-")
			})
		if chosen && appSays(app, h) == "core" && appSays(app, origin) != "shared" {
			return true
		}
	}
	for _, l := range what.Lists {
		if listSays(l.Name, h) {
			return true
		}
	}
	return slices.ContainsFunc(what.Domains, func(p policy.Pattern) bool { return fits(&p, h.Name()) }) ||
		h.IsAddr() && inNetworks(what.Networks, h.Addr())
}

// listSays is what the property lists mean, in plain words.
func listSays(list string, h policy.Host) bool {
	under := func(name string) bool { return h.Name() == name || strings.HasSuffix(h.Name(), "."+name) }
	switch list {
	case "one":
		return under("plain.test") || h.IsAddr() && netip.MustParsePrefix("198.51.100.0/24").Contains(h.Addr())
	case "two":
		return under("c.example") && !under("z.c.example") || under("y.b.example")
	default:
		return h.Name() == "a.example" || under("webex.com") && h.Name() != "webex.com" || under("r70.example")
	}
}

// appSays is "core", "shared" or "" by the longest name or prefix of the app.
func appSays(app *policy.App, h policy.Host) string {
	best, says := -1, ""
	better := func(length int, shared bool) {
		if length <= best {
			return
		}
		best, says = length, "core"
		if shared {
			says = "shared"
		}
	}
	for i := range app.Domains {
		d := &app.Domains[i]
		if !h.IsAddr() && fits(&d.Pattern, h.Name()) {
			length := 2 * len(d.Name)
			if d.Kind == policy.PatternExact {
				length++
			}
			better(length, d.Shared())
		}
	}
	for i := range app.Networks {
		if n := &app.Networks[i]; h.IsAddr() && n.Prefix.Contains(h.Addr()) {
			better(n.Prefix.Bits(), n.Shared())
		}
	}
	return says
}

func fits(p *policy.Pattern, name string) bool {
	under := strings.HasSuffix(name, "."+p.Name)
	switch p.Kind {
	case policy.PatternExact:
		return name == p.Name
	case policy.PatternBelow:
		return under
	case policy.PatternRegexp:
		return name != "" && p.Regexp.MatchString(name)
	default:
		return under || name == p.Name
	}
}
