package blockpage

import (
	"net/http"
	"strconv"
	"strings"
)

// maxHeaderValue bounds what a rule name may add to a response's header.
const maxHeaderValue = 200

// Write answers r with the refusal, in the format that r's Accept header
// prefers. It sets Content-Type, Content-Length, Cache-Control, Vary,
// X-Sallyport-Rule, where it is known X-Sallyport-Decision, where there is an offer
// X-Sallyport-Continue, and the headers that confine a browser; other headers that w
// already has are kept. A HEAD request gets the headers alone. An error from the client's connection is not reported: there
// is nobody left to tell.
func Write(w http.ResponseWriter, r *http.Request, status int, refusal Refusal) {
	format := Negotiate(strings.Join(r.Header.Values("Accept"), ","))
	body := refusal.Render(format)
	header := w.Header()
	header.Set("Content-Type", format.ContentType())
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	header.Add("Vary", "Accept")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Sallyport-Rule", headerValue(refusal.Rule))
	if refusal.Decision != "" {
		header.Set("X-Sallyport-Decision", headerValue(refusal.Decision))
	}
	if link := refusal.Offer.header(); link != "" {
		header.Set(ContinueHeader, link)
	}
	if format == FormatHTML {
		confine(header, refusal.Offer.Form)
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(body)
}

// confine lets a browser do nothing with a page but show it, and send its form
// where it has one.
func confine(header http.Header, form bool) {
	policy, referrer := contentSecurityPolicy, "no-referrer"
	if form {
		// The browser holds the answer to a form, too, against form-action:
		// what the employee goes back to, and wherever that leads on. And
		// under no-referrer it would send the form with an Origin of null, by
		// which it cannot be told from a form of somebody else's page.
		policy, referrer = formSecurityPolicy, "same-origin"
	}
	header.Set("Content-Security-Policy", policy)
	header.Set("Referrer-Policy", referrer)
	header.Set("X-Frame-Options", "DENY")
}

// headerValue makes text fit for a header field: a rule name is free text, and
// a header field may hold visible ASCII only (RFC 9110 §5.5). Anything else is
// percent-encoded, the percent sign too, so that the name can be recovered.
func headerValue(text string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		if b.Len() >= maxHeaderValue {
			break
		}
		c := text[i]
		inner := c == ' ' && i > 0 && i < len(text)-1
		if inner || c > ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}
