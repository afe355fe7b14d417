package gateway

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/blockpage"
	"github.com/sallyport/sallyport/coaching"
	"github.com/sallyport/sallyport/policy"
)

// linkTime is how long a link may be followed: long enough for somebody who
// asks a colleague first.
const linkTime = time.Hour

// maxTarget bounds the address to come back to that a link carries.
const maxTarget = 2 << 10

// link makes the address of the page at which a warned client can continue;
// "" where it cannot. target is what it asked for, and may be empty.
func (c *coach) link(d *policy.Decision, target string) string {
	if c == nil {
		return ""
	}
	base := c.base()
	if base == "" {
		return ""
	}
	ticket, ok := c.ticket(d)
	if !ok {
		return ""
	}
	token, err := c.key.Seal(ticket)
	if err != nil {
		c.log.Debug("no link for a warning", zap.String("host", d.Host.String()), zap.Error(err))
		return ""
	}
	return continueURL(base, token, shortTarget(target))
}

// continueURL is a link. Nothing in a token has to be escaped.
func continueURL(base, token, target string) string {
	var b strings.Builder
	b.WriteString(base + blockpage.ContinuePath + "?" + blockpage.FieldToken + "=" + token)
	if target != "" {
		b.WriteString("&" + blockpage.FieldTarget + "=" + url.QueryEscape(target))
	}
	return b.String()
}

// shortTarget is an address that is not too long for a link: the site's first
// page, where it would be.
func shortTarget(target string) string {
	if len(url.QueryEscape(target)) <= maxTarget {
		return target
	}
	u, err := url.Parse(target)
	if err != nil || len(u.Host) > maxTarget/2 {
		return ""
	}
	return u.Scheme + "://" + u.Host + "/"
}

// ticket is what has to be known to ask about a warning again. False where
// asking again would not come to the same: the policy has changed meanwhile, or
// nobody knows who was warned.
func (c *coach) ticket(d *policy.Decision) (*coaching.Ticket, bool) {
	v := &d.Verdict
	holder := d.Subject.Holder()
	if v.Action != policy.ActionWarn || v.Rule == nil || v.Rule.Action != policy.ActionWarn || holder.IsZero() {
		return nil, false
	}
	now := c.now()
	t := &coaching.Ticket{
		User: holder.User, Client: plainAddr(d.Client),
		Rule: v.RuleName(), App: v.AppID(),
		Door: d.Door, Host: d.Host, Port: d.Port,
		Decision: d.ID, Issued: now.Truncate(time.Second), Expires: now.Truncate(time.Second).Add(linkTime),
	}
	if holder.User == "" {
		t.Client = holder.Client
	}
	if v.Fact != d.Host {
		t.Fact = v.Fact // something that the host leads to
	}
	if c.stillWarns(t, d.Subject, now) {
		return t, true
	}
	t.Host, t.Fact = v.Fact, policy.Host{} // or something else that the client claimed
	return t, c.stillWarns(t, d.Subject, now)
}

// stillWarns reports whether asking about a ticket comes to what it says.
func (c *coach) stillWarns(t *coaching.Ticket, who policy.Subject, now time.Time) bool {
	v := c.judge(t, who, now)
	return v.Action == policy.ActionWarn && v.RuleName() == t.Rule && v.AppID() == t.App
}

// judge asks the policy about what a ticket is for.
func (c *coach) judge(t *coaching.Ticket, who policy.Subject, now time.Time) policy.Verdict {
	request := policy.Request{Subject: who, Door: t.Door, At: now, Port: t.Port, Host: t.Host}
	if !t.Fact.IsZero() {
		request.Derived = []policy.Host{t.Fact}
	}
	return c.engine.Decide(&request)
}

// plainAddr is an address as identities have it.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// backTo is the address to send somebody to who may go on: the one that was
// asked for, as far as it leads to that very host and by HTTP. Nothing of it is
// signed, so that it is put together anew; "" where it cannot be.
func backTo(target string, host policy.Host) string {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Opaque != "" {
		return ""
	}
	named, err := policy.ParseHost(u.Hostname())
	if err != nil || named != host || host.IsZero() {
		return ""
	}
	port := u.Port()
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return ""
	}
	back := url.URL{Scheme: u.Scheme, Host: authorityOf(host, port), Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}
	if !strings.HasPrefix(back.Path, "/") {
		back.Path, back.RawPath = "/", ""
	}
	if strings.ContainsFunc(back.RawQuery, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		back.RawQuery = ""
	}
	return back.String()
}

// authorityOf is a host, and a port where there is one, as they stand in a URL.
func authorityOf(host policy.Host, port string) string {
	text := host.String()
	if host.IsAddr() && host.Addr().Is6() {
		text = "[" + text + "]"
	}
	if port != "" {
		text += ":" + port
	}
	return text
}

// portalBase is the address by which people reach the portal: as configured,
// and else where it listens, with an address of this machine for every one.
func (g *Gateway) portalBase() string {
	if base := g.links.Load(); base != nil {
		return *base
	}
	base := g.config.Portal.URL
	for _, a := range g.Addrs() {
		if base != "" || a.Name != portalName {
			continue
		}
		host, port, err := net.SplitHostPort(a.Addr)
		if err != nil {
			return ""
		}
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.IsUnspecified() {
			page := pageAddresses(g.config.Portal, net.InterfaceAddrs)
			if len(page) == 0 {
				return ""
			}
			addr = page[0]
		}
		base = "http://" + net.JoinHostPort(addr.String(), port)
	}
	if base != "" {
		g.links.Store(&base)
	}
	return base
}
