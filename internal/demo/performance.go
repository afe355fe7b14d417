package main

import (
	"context"
	"fmt"
	"time"
)

// performance is a play under way. After an error it does nothing more, so
// that the script reads without them.
type performance struct {
	stage *stage
	ctx   context.Context
	rows  []row
	err   error
}

func (p *performance) setClock(at time.Time) { p.stage.clock.set(at) }

// knock has somebody ask both doors for host.
func (p *performance) knock(who person, host string, want expectation) {
	if p.err != nil {
		return
	}
	if err := p.ask(who, host, want); err != nil {
		p.err = fmt.Errorf("%s goes to %s: %w", who.name, host, err)
	}
}

func (p *performance) ask(who person, host string, want expectation) error {
	from, err := p.stage.log.end()
	if err != nil {
		return err
	}
	// The proxy first: there people sign in, and the DNS door knows them by it.
	byProxy, err := p.stage.visit(p.ctx, who, host)
	if err != nil {
		return err
	}
	byDNS, err := askDNS(p.ctx, p.stage.dnsDoor, who, host)
	if err != nil {
		return err
	}
	proxyRule, err := p.decidedBy(from, "proxy", who, host)
	if err != nil {
		return err
	}
	dnsRule, err := p.decidedBy(from, "dns", who, host)
	if err != nil {
		return err
	}
	r := row{who: who.name, what: "goes to " + host, dns: byDNS.word, proxy: byProxy.word, why: because(proxyRule, byProxy.reason)}
	switch {
	case byDNS != byProxy || dnsRule != proxyRule:
		r.wrong = fmt.Sprintf("the doors disagree: DNS %s by %s, proxy %s by %s",
			byDNS.word, because(dnsRule, byDNS.reason), byProxy.word, because(proxyRule, byProxy.reason))
	case byProxy.word != want.word || proxyRule != want.rule:
		r.wrong = fmt.Sprintf("should be %s by %s", want.word, want.rule)
	}
	p.add(r)
	return nil
}

// decidedBy gives the rule of the decision that a door has just taken.
func (p *performance) decidedBy(from int, door string, who person, host string) (string, error) {
	entry, err := p.stage.log.await(p.ctx, from, func(e logged) bool {
		return e.Event != "close" && e.Door == door && e.User == who.user && e.Host == host
	})
	if err != nil {
		return "", fmt.Errorf("find the decision of the %s door: %w", door, err)
	}
	return entry.Rule, nil
}

func because(rule, reason string) string {
	if reason == "" {
		return rule
	}
	return rule + ": " + reason
}

// join has somebody start a meeting that stays open. Nil where that fails.
func (p *performance) join(who person, host, rule string) *meeting {
	if p.err != nil {
		return nil
	}
	m, err := p.start(who, host, rule)
	if err != nil {
		p.err = fmt.Errorf("%s joins a meeting at %s: %w", who.name, host, err)
	}
	return m
}

func (p *performance) start(who person, host, rule string) (*meeting, error) {
	from, err := p.stage.log.end()
	if err != nil {
		return nil, err
	}
	m, answer, err := p.stage.join(p.ctx, who, host)
	if err != nil {
		return nil, err
	}
	by, err := p.decidedBy(from, "proxy", who, host)
	if err != nil {
		return m, err
	}
	r := row{who: who.name, what: "joins a meeting at " + host, proxy: answer.word, why: because(by, answer.reason)}
	if m == nil || by != rule {
		r.wrong = fmt.Sprintf("should be %s by %s", saysOpen, rule)
	}
	p.add(r)
	return m, nil
}

// cut wants a meeting to be ended by the gateway, by a rule.
func (p *performance) cut(m *meeting, rule string) {
	if p.err != nil || m == nil {
		return
	}
	r := row{who: m.who.name, what: "in the meeting at " + m.host, proxy: "cut"}
	if err := m.awaitCut(); err != nil {
		r.proxy, r.wrong = saysOpen, "should have been cut: "+err.Error()
		p.add(r)
		return
	}
	entry, err := p.stage.log.await(p.ctx, 0, func(e logged) bool {
		return e.ClosedBy == "policy" && e.User == m.who.user && e.Host == m.host
	})
	if err != nil {
		p.err = fmt.Errorf("find the end of %s's meeting: %w", m.who.name, err)
		return
	}
	if r.why = entry.ClosedByRule; r.why != rule {
		r.wrong = "should have been cut by " + rule
	}
	p.add(r)
}

// goesOn wants a meeting to be open still.
func (p *performance) goesOn(m *meeting) {
	if p.err != nil || m == nil {
		return
	}
	r := row{who: m.who.name, what: "in the meeting at " + m.host, proxy: saysOpen}
	if err := m.talk(); err != nil {
		r.proxy, r.wrong = "cut", "should go on: "+err.Error()
	}
	p.add(r)
}

func (p *performance) add(r row) {
	r.at = p.stage.clock.time()
	p.rows = append(p.rows, r)
}
