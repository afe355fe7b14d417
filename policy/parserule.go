package policy

import (
	"time"

	"github.com/sallyport/sallyport/strictyaml"
)

// DefaultGrant is how long a "continue anyway" holds where a warn rule does not
// say: about a working day.
const DefaultGrant = 8 * time.Hour

// Bounds of what a rule can say.
const (
	minGrant     = time.Minute
	maxGrant     = 366 * 24 * time.Hour
	maxGuidance  = 32 // alternatives of one rule
	maxDoorCount = 2
)

func (p *parser) readRules(v strictyaml.Value) {
	v.Items(func(item strictyaml.Value) {
		if r, ok := p.readRule(item); ok {
			p.doc.Rules = append(p.doc.Rules, r)
		}
	})
}

func (p *parser) readExceptions(v strictyaml.Value) {
	v.Items(func(item strictyaml.Value) {
		if r, ok := p.readException(item); ok {
			p.doc.Exceptions = append(p.doc.Exceptions, r)
		}
	})
}

// said keeps values that can be judged only when their neighbours are known.
type said map[string]strictyaml.Value

func (s said) note(v strictyaml.Value) { s[v.Name()] = v }

// readRule reads one of the rules.
func (p *parser) readRule(v strictyaml.Value) (Rule, bool) {
	r := Rule{Position: v.Position()}
	s, fields := said{}, p.ruleFields(&r)
	fields["grant"], fields["justification"], fields["answer"], fields["enforcement"] = s.note, s.note, s.note, s.note
	understood := false
	fields["action"] = func(v strictyaml.Value) {
		var text string
		if text, understood = v.OneOf("allow", "block", "warn", "monitor"); understood {
			r.Action, _ = ParseAction(text)
		}
	}
	ok := v.Mapping(strictyaml.Shape{
		Noun:     "rule",
		Fields:   fields,
		Required: []string{"name", "action"},
		Hints: map[string]string{
			"name":   "every rule has a name of its own",
			"action": "say allow, block, warn or monitor",
			"from":   `write it under "when"`,
			"until":  `write it under "when"`,
			"hours":  `write it under "when"`,
			"apps":   `write it under "what"`,
			"groups": `write it under "who"`,
		},
	})
	if ok && understood { // what goes with an action that is none cannot be told
		p.fitAction(&r, s)
	}
	return r, ok
}

// fitAction reads the words that go with some actions only.
func (p *parser) fitAction(r *Rule, s said) {
	refuses := r.Action == ActionBlock || r.Action == ActionWarn
	if r.Action == ActionWarn {
		r.Grant = DefaultGrant
	}
	if grant, ok := s["grant"]; ok {
		r.Grant, _ = grant.Duration(minGrant, maxGrant)
		if r.Action != ActionWarn {
			grant.Errorf("\"grant\" goes with \"action: warn\" only, not with %s", r.Action)
		}
	}
	if justification, ok := s["justification"]; ok {
		r.Justification = readJustification(justification)
		if r.Action != ActionWarn {
			justification.Errorf("\"justification\" goes with \"action: warn\" only, not with %s", r.Action)
		}
	}
	if answer, ok := s["answer"]; ok {
		r.Answer = answerMode(answer)
		if !refuses {
			answer.Errorf("\"answer\" goes with block and warn only, not with %s", r.Action)
		}
	}
	if enforcement, ok := s["enforcement"]; ok {
		r.ReportOnly = reportOnly(enforcement)
		switch {
		case r.ReportOnly && !refuses:
			enforcement.Warnf("report-only changes nothing here: the rule does not refuse anything")
		case !r.ReportOnly && p.doc.ReportOnly:
			enforcement.Warnf("this rule is not enforced: the whole policy is report-only, as it says at the top")
		}
	}
}

// readException reads one of the exceptions: a rule that allows, and ends.
func (p *parser) readException(v strictyaml.Value) (Rule, bool) {
	r := Rule{Position: v.Position(), Exception: true, Action: ActionAllow}
	s, fields := said{}, p.ruleFields(&r)
	fields["from"], fields["until"] = s.note, s.note
	fields["when"] = func(v strictyaml.Value) { s.note(v); r.When = p.readWhen(v) }
	fields["action"] = func(v strictyaml.Value) {
		if text, ok := v.Line(); ok && text != "allow" {
			v.Errorf("an exception allows: it cannot have the action %q; write a rule", text)
		}
	}
	ok := v.Mapping(strictyaml.Shape{
		Noun:     "exception",
		Fields:   fields,
		Required: []string{"name"},
		Hints: map[string]string{
			"name":          "every exception has a name of its own",
			"enforcement":   "an exception has nothing to rehearse",
			"grant":         "an exception asks nobody to continue",
			"justification": "an exception asks nobody to continue",
			"answer":        "an exception refuses nothing",
			"hours":         `write it under "when"`,
			"apps":          `write it under "what"`,
			"groups":        `write it under "who"`,
		},
	})
	if ok {
		p.fitEnd(&r, s, v)
	}
	return r, ok
}

// fitEnd gives an exception its compulsory end, which stands beside its name
// or in its when.
func (p *parser) fitEnd(r *Rule, s said, v strictyaml.Value) {
	when, hasWhen := s["when"]
	if !hasWhen {
		r.When.Position = r.Position
	}
	edge := func(key string, into *time.Time) (given bool) {
		value, given := s[key]
		within := hasWhen && when.Has(key)
		if given && within {
			value.Errorf("%q is given twice: here and under \"when\"", key)
		} else if given {
			*into, _ = instant(value, p.doc.Location)
		}
		return given || within
	}
	edge("from", &r.When.From)
	if !edge("until", &r.When.Until) {
		v.Errorf("exception without \"until\": an exception must have an end, such as until: 2020-04-03T18:00")
	}
}

// ruleFields are the words that rules and exceptions share.
func (p *parser) ruleFields(r *Rule) map[string]func(strictyaml.Value) {
	return map[string]func(strictyaml.Value){
		"name": func(v strictyaml.Value) {
			if name, ok := v.Line(); ok {
				identifier(v, "a rule", name)
				r.Name = name // also a bad one, so that what refers to it is not reported too
			}
		},
		"who":          func(v strictyaml.Value) { r.Who = p.readWho(v, true) },
		"what":         func(v strictyaml.Value) { r.What = p.readWhat(v, true) },
		"when":         func(v strictyaml.Value) { r.When = p.readWhen(v) },
		"doors":        func(v strictyaml.Value) { r.Doors = readDoors(v) },
		"strip_h3":     func(v strictyaml.Value) { r.StripH3, _ = v.Bool() },
		"reason":       intoLine(&r.Reason),
		"message":      intoText(&r.Message),
		"alternatives": func(v strictyaml.Value) { r.Alternatives = readAlternatives(v) },
		"ticket":       intoLine(&r.Ticket),
		"approved_by":  intoLine(&r.ApprovedBy),
	}
}

func readDoors(v strictyaml.Value) []Door {
	var doors []Door
	items(v, func(item strictyaml.Value) {
		if text, ok := item.As("door").OneOf("dns", "proxy"); ok {
			door, _ := ParseDoor(text)
			doors = append(doors, door)
		}
	})
	if len(doors) > maxDoorCount || len(doors) == maxDoorCount && doors[0] == doors[1] {
		v.Errorf("a door is named twice: write [dns], [proxy], or leave \"doors\" out for both")
	}
	return doors
}

func readAlternatives(v strictyaml.Value) []string {
	if v.Len() > maxGuidance {
		v.Errorf("%d alternatives: at most %d are shown", v.Len(), maxGuidance)
		return nil
	}
	var lines []string
	items(v, func(item strictyaml.Value) {
		if line, ok := item.Line(); ok {
			lines = append(lines, line)
		}
	})
	return lines
}

// readJustification reads what is asked of whoever continues.
func readJustification(v strictyaml.Value) Justification {
	text, _ := v.OneOf("optional", "required", "none")
	switch text {
	case "required":
		return JustificationRequired
	case "none":
		return JustificationNone
	default:
		return JustificationOptional
	}
}

// answerMode reads how the DNS door refuses.
func answerMode(v strictyaml.Value) AnswerMode {
	text, _ := v.OneOf("null", "nxdomain", "nodata", "refused", "page")
	switch text {
	case "null":
		return AnswerNull
	case "nxdomain":
		return AnswerNXDOMAIN
	case "nodata":
		return AnswerNODATA
	case "refused":
		return AnswerRefused
	case "page":
		return AnswerPage
	default:
		return AnswerInherit
	}
}
