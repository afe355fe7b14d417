package blockpage

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// columns is the width that a terminal and a quoted mail both can show.
const columns = 72

// signInText says what whoever has an exception can do.
const signInText = "Sign in if you have an exception: open the address again, with your user name and password."

// text is the refusal as plain text, wrapped.
func (r *Refusal) text() []byte {
	var b bytes.Buffer
	wrap(&b, "", "", r.headline()+".")
	if r.Reason != "" {
		b.WriteByte('\n')
		wrap(&b, "Reason: ", "  ", r.Reason)
	}
	for _, paragraph := range paragraphs(r.Message) {
		b.WriteByte('\n')
		wrap(&b, "", "", paragraph)
	}
	if len(r.Alternatives) > 0 {
		b.WriteString("\nUse instead:\n")
		for _, alternative := range r.Alternatives {
			wrap(&b, "  - ", "    ", alternative)
		}
	}
	if r.SignIn {
		b.WriteByte('\n')
		wrap(&b, "", "", signInText)
	}
	r.Offer.text(&b)
	if r.Contact != "" {
		b.WriteByte('\n')
		wrap(&b, "Questions? Ask ", "  ", r.Contact)
	}
	b.WriteByte('\n')
	for _, line := range r.particulars() {
		wrap(&b, line.Label+": ", "  ", line.Value)
	}
	return b.Bytes()
}

// particular is one line of what a help desk asks for.
type particular struct {
	Label, Value string
	Machine      string // of a moment, for programs; empty: it is none
}

// particulars lists what is known, in the order in which it is shown.
func (r *Refusal) particulars() []particular {
	at := NewInstant(r.Time)
	var known []particular
	for _, p := range []particular{
		{Label: "Asked for", Value: r.Host},
		{Label: "Rule", Value: r.Rule},
		{Label: "Decision", Value: r.Decision},
		{Label: "Time", Value: at.Text, Machine: at.Machine},
	} {
		if p.Value != "" {
			known = append(known, p)
		}
	}
	return known
}

// paragraphs splits a message at its blank lines. Single line ends inside a
// paragraph are the policy file's, not the author's.
func paragraphs(message string) []string {
	var list []string
	for part := range strings.SplitSeq(strings.ReplaceAll(message, "\r\n", "\n"), "\n\n") {
		if words := strings.Fields(part); len(words) > 0 {
			list = append(list, strings.Join(words, " "))
		}
	}
	return list
}

// tidy is the message with its paragraphs unwrapped, for JSON.
func tidy(message string) string { return strings.Join(paragraphs(message), "\n\n") }

// wrap writes text in lines of at most columns characters where its words
// allow: first before the first line, next before the others. Control
// characters are dropped, so that a message cannot steer a terminal.
func wrap(b *bytes.Buffer, first, next, text string) {
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && !unicode.IsSpace(c) || unicode.Is(unicode.Cf, c) {
			return -1
		}
		return c
	}, text)
	b.WriteString(first)
	width, start := utf8.RuneCountInString(first), true
	for _, word := range strings.Fields(text) {
		length := utf8.RuneCountInString(word)
		if !start && width+1+length > columns {
			b.WriteByte('\n')
			b.WriteString(next)
			width, start = utf8.RuneCountInString(next), true
		}
		if !start {
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width, start = width+length, false
	}
	b.WriteByte('\n')
}
