package blockpage

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// ContinuePath is where the portal shows the page with the form, and takes it.
const ContinuePath = "/continue"

// The fields of the form, and of whatever else asks to continue.
const (
	FieldToken         = "t"
	FieldTarget        = "u"
	FieldJustification = "justification"
)

// ContinueHeader is the field of a refusal's header that holds the address at
// which its client can continue.
const ContinueHeader = "X-Sallyport-Continue"

// maxContinue bounds that address there.
const maxContinue = 4 << 10

// Offer is how somebody who was warned may continue all the same.
type Offer struct {
	// URL is the address of the page that offers it. Empty: nobody can.
	URL string

	// Form says that the refusal is that page: it has the form, which sends
	// Token and Target back as they are, in place of a link to it.
	Form          bool
	Token, Target string

	Justification policy.Justification
	Limit         int           // characters of a justification that are taken; 0: not said
	Lasts         time.Duration // of the grant
	Said          string        // justification that was typed already
	Missing       bool          // and was wanted, and there was none
}

// Open reports whether there is anything to offer.
func (o *Offer) Open() bool { return o.URL != "" || o.Form }

// view is the offer as the page's template sees it.
func (o *Offer) view() *offerView {
	return &offerView{
		URL: o.URL, Token: o.Token, Target: o.Target, Path: ContinuePath, Length: inWords(o.Lasts), Said: o.Said,
		Limit: o.Limit, Form: o.Form, Missing: o.Missing,
		Asks:     o.Justification != policy.JustificationNone,
		Required: o.Justification == policy.JustificationRequired,
	}
}

// inWords writes a length of time as people say it, in its two largest units.
func inWords(d time.Duration) string {
	var words []string
	for _, unit := range []struct {
		name   string
		length time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		n := d / unit.length
		d -= n * unit.length
		switch {
		case n == 1:
			words = append(words, "1 "+unit.name)
		case n > 1:
			words = append(words, fmt.Sprintf("%d %ss", n, unit.name))
		}
		if len(words) == 2 || len(words) == 1 && n == 0 {
			break
		}
	}
	return strings.Join(words, " and ")
}

// text writes what a person at a terminal, or a program, can do.
func (o *Offer) text(b *bytes.Buffer) {
	if o.URL == "" {
		return
	}
	lasting := ""
	if length := inWords(o.Lasts); length != "" {
		lasting = ", for " + length
	}
	b.WriteByte('\n')
	how := ""
	if o.Form {
		how = ", send a POST request to the address below"
		if o.Justification != policy.JustificationNone {
			how += `, with what you need it for in the field "` + FieldJustification + `"`
		}
	}
	wrap(b, "", "  ", "To continue anyway"+lasting+how+": "+o.URL)
}

// header is the address as it may stand in a header; empty where it may not.
func (o *Offer) header() string {
	if len(o.URL) > maxContinue || strings.ContainsFunc(o.URL, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return ""
	}
	return o.URL
}
