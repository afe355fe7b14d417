package blockpage

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/mail"
	"net/url"
	"strings"

	"github.com/sallyport/sallyport/policy"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var pageStyle string

// pageTemplate is parsed once, with the style in its place; it is never changed
// afterwards.
var pageTemplate = template.Must(template.New("page").Parse(strings.Replace(pageSource, "/* page.css */", pageStyle, 1)))

// contentSecurityPolicy lets the page use its own style sheet, named by its
// hash, and nothing else. formSecurityPolicy lets it send its form as well.
var (
	contentSecurityPolicy = ownStyleOnly + "; form-action 'none'"
	formSecurityPolicy    = ownStyleOnly + "; form-action 'self' http: https:"
	ownStyleOnly          = "default-src 'none'; style-src 'sha256-" + styleHash() + "'; base-uri 'none'; frame-ancestors 'none'"
)

func styleHash() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// page is what the template sees.
type page struct {
	Headline     string
	Badge        string
	Warn         bool
	Reason       string
	Paragraphs   []string
	Alternatives []string
	SignIn       string // what to do; empty: it is of no use
	Organisation string
	Contact      string
	ContactLink  string // empty: the contact is words
	Particulars  []particular
	Offer        *offerView // nil: there is none
}

// offerView is an Offer as the template sees it: values, since methods take a
// template far longer.
type offerView struct {
	URL, Token, Target, Path, Length, Said string
	Limit                                  int
	Form, Asks, Required, Missing          bool
}

func (r *Refusal) html() []byte {
	p := page{
		Headline:     r.headline(),
		Badge:        "Blocked",
		Warn:         r.Action == policy.ActionWarn,
		Reason:       r.Reason,
		Paragraphs:   paragraphs(r.Message),
		Alternatives: r.Alternatives,
		Organisation: r.Organisation,
		Contact:      r.Contact,
		ContactLink:  contactLink(r.Contact, r.Decision),
		Particulars:  r.particulars(),
	}
	if p.Warn {
		p.Badge = "Discouraged"
	}
	if r.SignIn {
		p.SignIn = signInText
	}
	if r.Offer.Open() {
		p.Offer = r.Offer.view()
	}
	var b bytes.Buffer
	b.Grow(len(pageSource) + len(pageStyle) + 2<<10)
	if err := pageTemplate.Execute(&b, p); err != nil {
		return r.text()
	}
	return b.Bytes()
}

// contactLink is where a click on the contact leads: a mail that already names
// the decision, so that the help desk can find it, or a web page.
func contactLink(contact, decision string) string {
	if address, err := mail.ParseAddress(contact); err == nil && address.Name == "" {
		link := url.URL{Scheme: "mailto", Opaque: url.PathEscape(address.Address)}
		if decision != "" {
			link.RawQuery = "subject=" + url.PathEscape("Decision "+decision)
		}
		return link.String()
	}
	if u, err := url.Parse(contact); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && !strings.Contains(contact, " ") {
		return contact
	}
	return ""
}
