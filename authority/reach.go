package authority

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/policy"
)

// Reach is what a policy refuses by name at the proxy door: what an authority
// needs to sign for.
type Reach struct {
	// Names are canonical and sorted, and none is under another.
	Names []string

	// Wider says, one sentence each, what the policy refuses besides that no
	// list of names can say. Empty: Names are everything.
	Wider []string
}

// ReachOf finds the names that the rules of a policy block or warn of, the
// names of their apps and categories included, and whether rules are in force
// now or not: an authority outlives a schedule and a rehearsal. apps are the
// catalogue as the policy widens it. Names that are refused for what they lead
// to, and those refused by address, are not among them.
func ReachOf(doc *policy.Document, apps []*policy.App) Reach {
	g := &gathering{apps: apps}
	for i := range doc.Rules { // exceptions refuse nothing
		g.add(&doc.Rules[i])
	}
	if doc.Default.Refuses() {
		g.wider("the policy's default is %s: what no rule names is refused", doc.Default)
	}
	r := Reach{Names: withoutCovered(g.names), Wider: g.reasons}
	if len(r.Names) > maxPermitted {
		r.Wider = append(r.Wider, fmt.Sprintf("the policy refuses %d names: at most %d fit in one certificate", len(r.Names), maxPermitted))
	}
	return r
}

// Beyond are the names of r for which an authority may not sign: whoever goes
// there over HTTPS is refused without a page.
func (r Reach) Beyond(authority *x509.Certificate) []string {
	t := territoryOf(authority)
	var out []string
	for _, name := range r.Names {
		if !t.holds(policy.HostFromCanonicalName(name)) {
			out = append(out, name)
		}
	}
	return out
}

// gathering collects what rules refuse.
type gathering struct {
	apps    []*policy.App
	names   []string
	reasons []string
}

func (g *gathering) wider(format string, args ...any) {
	g.reasons = append(g.reasons, fmt.Sprintf(format, args...))
}

func (g *gathering) add(r *policy.Rule) {
	if r.Action != policy.ActionBlock && r.Action != policy.ActionWarn || !atProxy(r.Doors) {
		return
	}
	w := &r.What
	if len(w.Apps)+len(w.Categories)+len(w.Domains)+len(w.Lists)+len(w.Networks) == 0 {
		g.wider("rule %q refuses every name", r.Name)
		return
	}
	for _, list := range w.Lists {
		g.wider("rule %q refuses the list %q", r.Name, list.Name)
	}
	for _, p := range w.Domains {
		g.pattern(r.Name, &p)
	}
	for _, app := range g.apps {
		if !selects(w, app) {
			continue
		}
		for i := range app.Domains {
			if d := &app.Domains[i]; !d.Shared() {
				g.pattern(r.Name, &d.Pattern)
			}
		}
	}
}

func (g *gathering) pattern(rule string, p *policy.Pattern) {
	switch {
	case p.Kind == policy.PatternRegexp:
		g.wider("rule %q refuses names by the pattern %s", rule, p.Text)
	case plainName(p.Name):
		g.names = append(g.names, p.Name)
	}
}

func atProxy(doors []policy.Door) bool {
	return len(doors) == 0 || slices.Contains(doors, policy.DoorProxy)
}

// selects reports whether a rule names an app, by its id or by a category that
// its own belongs to.
func selects(w *policy.What, app *policy.App) bool {
	for _, ref := range w.Apps {
		if ref.Name == app.ID {
			return true
		}
	}
	for _, ref := range w.Categories {
		if ref.Name == app.Category || strings.HasPrefix(app.Category, ref.Name+"-") {
			return true
		}
	}
	return false
}
