package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/blockpage"
	"github.com/sallyport/sallyport/console"
	"github.com/sallyport/sallyport/policy"
)

// newConsole makes both of the console's listeners. What they show is read at
// the moment of asking, from what decides.
func (g *Gateway) newConsole() {
	log := g.deps.Log.Named("console")
	listen := g.deps.Sockets.Listen
	g.admin = newWebServer("admin http", g.config.Admin.Listen, listen, console.NewAdmin(
		console.AdminConfig{Loopback: isLoopback(g.config.Admin.Listen), Hosts: g.config.Admin.Hosts},
		console.AdminFacts{
			Metrics: g.metricsHandler(),
			Ready:   g.readiness,
			Reload:  g.reloadReply,
			Status:  g.status,
			Explain: g.explain,
			Policy:  g.policyReport,
			Grants:  g.coach.grants(),
		}), log)
	g.portal = newWebServer(portalName, g.config.Portal.Listen, listen, console.NewPortal(
		console.PortalConfig{Hosts: g.config.Portal.names()},
		console.PortalFacts{
			Organisation:      func() policy.Organisation { return g.engine.Program().Organisation() },
			Refusal:           g.refusal,
			Coaching:          g.coach.continuing(),
			AutoConfiguration: g.newAutoConfiguration().file,
			Certificate:       g.authorityCertificate,
		}), log)
}

func (g *Gateway) metricsHandler() http.Handler {
	return promhttp.HandlerFor(g.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             30 * time.Second,
	})
}

func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// readiness is true while the gateway decides: a policy is loaded, always, and
// both doors are bound and not about to close. Its problems are what an administrator must mend.
func (g *Gateway) readiness() console.Readiness {
	return console.Readiness{
		Ready:    len(g.Addrs()) > 0 && !g.stopping.Load(),
		Problems: g.problems(),
	}
}

func (g *Gateway) problems() []string {
	state := g.state.Load()
	problems := []string{}
	if len(g.Addrs()) == 0 {
		problems = append(problems, "the doors are not bound yet")
	}
	if g.stopping.Load() {
		problems = append(problems, "stopping")
	}
	if state.failed != nil {
		problems = append(problems, fmt.Sprintf("the policy on disk is not in force: revision %s keeps deciding", g.engine.Program().Revision()))
		for _, p := range state.failed {
			problems = append(problems, p.String())
		}
	}
	for _, l := range g.listStates() {
		if l.Trouble != "" {
			problems = append(problems, fmt.Sprintf("list %q: %s; its last good copy keeps deciding", l.Name, l.Trouble))
		}
	}
	problems = append(problems, g.lists.missing()...)
	if trouble := g.users.trouble(); len(trouble) > 0 {
		problems = append(problems, "the htpasswd file on disk is not in force: the users known before can still sign in")
		for _, p := range trouble {
			problems = append(problems, p.String())
		}
	}
	if trouble := g.coach.trouble(); trouble != "" {
		problems = append(problems, "a restart would forget who has continued past a warning: "+trouble)
	}
	problems = append(problems, g.logTroubles()...)
	if g.restartNeeded.Load() {
		problems = append(problems, fmt.Sprintf("%s has changed: restart the gateway to apply it", g.config.Path))
	}
	return problems
}

func (g *Gateway) reloadReply(ctx context.Context) console.ReloadReply {
	out, err := g.reloader.ask(ctx)
	if err != nil {
		return console.ReloadReply{
			Revision: g.engine.Program().Revision(),
			Problems: policy.Problems{{Message: "the reload was not waited for: " + err.Error()}},
		}
	}
	return console.ReloadReply{
		Loaded:   out.loaded,
		Changed:  out.changed,
		Revision: out.revision,
		Closed:   out.closed,
		Problems: out.problems,
	}
}

func (g *Gateway) status() console.Status {
	ready := g.readiness()
	s := console.Status{
		Version:   g.deps.Build.Version,
		Commit:    g.deps.Build.Commit,
		Go:        g.deps.Build.Go,
		Tenant:    g.config.Tenant,
		Revision:  g.engine.Program().Revision(),
		Addresses: []console.Address{},
		Started:   g.started,
		Uptime:    g.deps.Now().Sub(g.started).Seconds(),
		Tunnels:   int(g.gauge("sallyport_proxy_tunnels")),
		Ready:     ready.Ready,
		Problems:  ready.Problems,
	}
	for _, a := range g.Addrs() {
		s.Addresses = append(s.Addresses, console.Address{Name: a.Name, Address: a.Addr})
	}
	return s
}

// explain asks the engine that decides, at the time by which it decides.
func (g *Gateway) explain(q console.Question) (policy.Explanation, error) {
	return q.AskEngine(g.engine, g.deps.Now())
}

// How long the portal looks for what a name leads to, and how many names at a
// time: whoever reaches the portal can have it look up any name.
const (
	refusalTime    = 2 * time.Second
	refusalLookups = 64
)

// refusal judges a name as the DNS door does for that client now: by itself,
// and else by what it leads to, since a name of somebody's own may lead into a
// refused app. It is not recorded: the query that led the client here was. Of
// what it asked for, url, a warning leads back to.
func (g *Gateway) refusal(ctx context.Context, client netip.Addr, host policy.Host, url string) (blockpage.Refusal, bool) {
	now := g.deps.Now()
	request := policy.Request{
		Subject: g.identity.ByAddr(client),
		Door:    policy.DoorDNS,
		At:      now,
		Host:    host,
	}
	verdict := g.engine.Decide(&request)
	if !verdict.Action.Refuses() {
		request.Derived = g.leadsTo(ctx, host)
		verdict = g.engine.Decide(&request)
	}
	if !verdict.Action.Refuses() {
		return blockpage.Refusal{}, false
	}
	refusal := blockpage.FromVerdict(&verdict, host, "", now)
	if verdict.Action == policy.ActionWarn {
		refusal.Offer.URL = g.coach.link(&policy.Decision{Door: request.Door, Client: client, Subject: request.Subject, Host: host, Verdict: verdict}, url)
	}
	return refusal, true
}

// leadsTo is what can be found in time of the targets and addresses of a name.
func (g *Gateway) leadsTo(ctx context.Context, host policy.Host) []policy.Host {
	select {
	case g.lookups <- struct{}{}:
		defer func() { <-g.lookups }()
	default:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, refusalTime)
	defer cancel()
	found, err := g.dns.Resolve(ctx, host.Name())
	if err != nil {
		// What was found on the way is there nevertheless.
		g.deps.Log.Debug("look a name up for the portal", zap.String("host", host.Name()), zap.Error(err))
	}
	return found.Facts
}
