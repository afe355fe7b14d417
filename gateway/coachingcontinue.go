package gateway

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/blockpage"
	"github.com/sallyport/sallyport/coaching"
	"github.com/sallyport/sallyport/console"
	"github.com/sallyport/sallyport/policy"
)

// continuing is what the portal lets people past warnings with.
func (c *coach) continuing() console.Coaching {
	if c == nil {
		return console.Coaching{}
	}
	return console.Coaching{Offer: c.offer, Accept: c.accept, Refused: c.metrics.refuse}
}

// continuation is somebody who follows a link, and what the policy says now.
type continuation struct {
	ticket  *coaching.Ticket
	subject policy.Subject
	verdict policy.Verdict
	now     time.Time
	token   string
	back    string
}

// offer shows the page of a link.
func (c *coach) offer(r console.ContinueRequest) console.ContinueReply {
	n, trouble := c.follow(r)
	if trouble != nil {
		return console.ContinueReply{Trouble: trouble}
	}
	if reply, decided := c.decided(n); decided {
		return reply
	}
	return console.ContinueReply{Refusal: c.page(n)}
}

// accept grants what a link offers: to whom it was made for, while the policy
// still warns as it did when it was made, and with a justification where the
// rule wants one.
func (c *coach) accept(r console.ContinueRequest) console.ContinueReply {
	n, trouble := c.follow(r)
	if trouble != nil {
		c.metrics.refuse(trouble.Reason)
		return console.ContinueReply{Trouble: trouble}
	}
	if reply, decided := c.decided(n); decided {
		if reply.Continued == nil {
			c.metrics.refuse(refusedPolicy)
		}
		return reply
	}
	justification := coaching.Tidy(r.Justification)
	switch n.verdict.Rule.Justification {
	case policy.JustificationNone:
		justification = ""
	case policy.JustificationRequired:
		if justification == "" {
			c.metrics.refuse(refusedJustification)
			page := c.page(n)
			page.Offer.Missing = true
			return console.ContinueReply{Refusal: page}
		}
	}
	return c.give(n, r, justification)
}

// follow opens a link and asks the policy about what it is for.
func (c *coach) follow(r console.ContinueRequest) (*continuation, *console.Trouble) {
	now := c.now()
	ticket, err := c.key.Open(r.Token, now)
	switch {
	case errors.Is(err, coaching.ErrExpired):
		return nil, &console.Trouble{Status: http.StatusGone, Reason: refusedExpired, Title: "This link has expired",
			Text: "Open the address that you wanted again, and use the link on the page that you get."}
	case err != nil:
		return nil, &console.Trouble{Status: http.StatusBadRequest, Reason: refusedToken, Title: "This link cannot be used",
			Text: "It is damaged, or another gateway made it. Open the address that you wanted again, and use the link on the page that you get."}
	}
	client := plainAddr(r.Client)
	subject := c.identify(client)
	if !ticket.IsFor(client, subject.User) {
		return nil, &console.Trouble{Status: http.StatusForbidden, Reason: refusedClient, Title: "This link is for somebody else",
			Text: "It was made for another computer, or another user, and works for nobody but them. Open the address that you wanted on this computer, and use the link on the page that you get."}
	}
	if subject.User != ticket.User || subject.Addr != ticket.Client {
		subject = c.engine.Subject(policy.Identity{Addr: ticket.Client, User: ticket.User, Source: sourceLink})
	}
	return &continuation{
		ticket:  ticket,
		subject: subject,
		verdict: c.judge(ticket, subject, now),
		now:     now,
		token:   r.Token,
		back:    cmp.Or(backTo(r.Target, ticket.Host), backTo(r.Target, ticket.Fact)),
	}, nil
}

// decided answers where there is nothing to grant: the way is open, or the
// policy does not warn of it any more as it did.
func (c *coach) decided(n *continuation) (console.ContinueReply, bool) {
	v := &n.verdict
	switch {
	case !v.Action.Refuses():
		var until time.Time
		if v.Granted {
			until, _ = c.store.Holds(policy.GrantKey{Holder: n.subject.Holder(), Rule: n.ticket.Rule, App: n.ticket.App}, n.now)
		}
		return console.ContinueReply{Continued: c.open(n, until)}, true
	case v.Action != policy.ActionWarn || v.Rule.Action != policy.ActionWarn:
		refusal := blockpage.FromVerdict(v, n.ticket.Host, n.ticket.Decision, n.now)
		return console.ContinueReply{Refusal: &refusal}, true
	case v.RuleName() != n.ticket.Rule || v.AppID() != n.ticket.App:
		return console.ContinueReply{Trouble: &console.Trouble{Status: http.StatusConflict, Reason: refusedPolicy, Title: "The policy has changed",
			Text: "What this link offers is not what the policy says now. Open the address that you wanted again, and read the page that you get."}}, true
	default:
		return console.ContinueReply{}, false
	}
}

// open is a way that is open, until some time or for good.
func (c *coach) open(n *continuation, until time.Time) *console.Continued {
	what := n.ticket.Host.String()
	if n.verdict.App != nil && n.verdict.App.Name != "" {
		what = n.verdict.App.Name
	}
	if !until.IsZero() {
		until = until.In(c.engine.Program().Document().Location)
	}
	return &console.Continued{What: what, Until: until, Back: n.back}
}

// page is the offer, with its form.
func (c *coach) page(n *continuation) *blockpage.Refusal {
	refusal := blockpage.FromVerdict(&n.verdict, n.ticket.Host, n.ticket.Decision, n.ticket.Issued)
	refusal.Offer.URL = continueURL(c.base(), n.token, n.back)
	refusal.Offer.Form = true
	refusal.Offer.Token, refusal.Offer.Target = n.token, n.back
	refusal.Offer.Limit = coaching.MaxJustification
	return &refusal
}

// give grants, writes it down, and sees to it that somebody looks when it ends.
func (c *coach) give(n *continuation, r console.ContinueRequest, justification string) console.ContinueReply {
	grant, added, err := c.store.Add(coaching.Grant{
		Key:           n.verdict.GrantKey(&n.subject),
		Door:          n.ticket.Door,
		Host:          n.ticket.Host.String(),
		From:          plainAddr(r.Client),
		Given:         n.now,
		Until:         coaching.End(n.now, n.verdict.Rule.Grant),
		Justification: justification,
		Decision:      n.ticket.Decision,
	})
	if err != nil {
		c.metrics.refuse(refusedFull)
		c.log.Warn("no grant for somebody who would continue past a warning", holderField(c.mask, n.subject.Holder(), n.now), zap.Error(err))
		return console.ContinueReply{Trouble: &console.Trouble{Status: http.StatusServiceUnavailable, Reason: refusedFull,
			Title: "You cannot continue at the moment", Text: sentence(err)}}
	}
	if added {
		c.metrics.grants.WithLabelValues(grant.Key.Rule).Inc()
		c.record(&audit.Grant{
			Decision: &policy.Decision{
				ID: grant.Decision, Door: grant.Door, Transport: transportPortal, Client: grant.From,
				Subject: n.subject, Host: n.ticket.Host, Port: n.ticket.Port, Verdict: n.verdict,
			},
			Time: n.now, ID: grant.ID, Until: grant.Until, Justification: grant.Justification,
		})
		c.ends.wake()
	}
	return console.ContinueReply{Continued: c.open(n, grant.Until)}
}

// sentence is an error as people read it.
func sentence(err error) string {
	text := []rune(err.Error())
	if len(text) > 0 && text[0] >= 'a' && text[0] <= 'z' {
		text[0] -= 'a' - 'A'
	}
	return string(text) + "."
}
