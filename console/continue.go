package console

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/sallyport/sallyport/blockpage"
	"github.com/sallyport/sallyport/policy"
)

// Coaching is how the portal lets people past a warning. The zero Coaching is
// off; otherwise all funcs must be set, and safe for concurrent use.
type Coaching struct {
	// Offer says what the page of a link is to show. It grants nothing.
	Offer func(ContinueRequest) ContinueReply

	// Accept grants what a link offers, where that is still right.
	Accept func(ContinueRequest) ContinueReply

	// Refused counts an attempt to continue that the portal itself turned away.
	Refused func(reason string)
}

// Why the portal itself turns an attempt to continue away.
const (
	RefusedOrigin  = "origin"  // another site's page made the browser send it
	RefusedRequest = "request" // it cannot be read
)

// ContinueRequest is what somebody sends who follows a link past a warning.
type ContinueRequest struct {
	Client        netip.Addr // from where
	Token         string     // that the link carries
	Target        string     // where the link is to lead in the end; not signed
	Justification string     // as typed
}

// ContinueReply is what becomes of it. Exactly one of the pointers is set.
type ContinueReply struct {
	// Refusal is a page to show: the offer, with its form, or the block page of
	// what is blocked by now.
	Refusal *blockpage.Refusal

	// Continued says that the way is open.
	Continued *Continued

	// Trouble is why there is nothing to continue to.
	Trouble *Trouble
}

// Continued is an open way.
type Continued struct {
	What  string    // the app, or the host, for people
	Until time.Time // zero: the policy does not refuse it any more
	Back  string    // address to go on to; "" where none is known
}

// Trouble is why a link cannot be used, and what to do.
type Trouble struct {
	Status int    // of HTTP
	Reason string // one word, for programs
	Title  string
	Text   string // what is wrong, and what to do; sentences
}

// continuing answers what follows a link past a warning.
func (p *portal) continuing(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if p.facts.Coaching.Offer == nil {
		p.trouble(w, r, Trouble{http.StatusNotFound, "off", "There is no way to continue",
			"This gateway lets nobody past its warnings."})
		return
	}
	// A page of somebody else's, whose name leads here, would be of the same
	// origin as what it sends.
	if foreignName(p, r) != "" {
		p.facts.Coaching.Refused(RefusedOrigin)
		p.trouble(w, r, Trouble{http.StatusMisdirectedRequest, RefusedOrigin, "This link cannot be used here",
			"The portal is not known by this name. Use its address, or have the administrator add the name to portal.hosts."})
		return
	}
	if r.Method == http.MethodPost {
		p.accept(w, r)
		return
	}
	query := r.URL.Query()
	p.reply(w, r, p.facts.Coaching.Offer(ContinueRequest{
		Client: clientOf(r),
		Token:  query.Get(blockpage.FieldToken),
		Target: query.Get(blockpage.FieldTarget),
	}))
}

// accept takes the form. What is not in it may be in the address: a program
// sends its request to the very link that it was given.
func (p *portal) accept(w http.ResponseWriter, r *http.Request) {
	coaching := &p.facts.Coaching
	if err := p.sameOrigin.Check(r); err != nil {
		coaching.Refused(RefusedOrigin)
		p.trouble(w, r, Trouble{http.StatusForbidden, RefusedOrigin, "Another site has sent this",
			"Nothing was granted: only the page of this portal can be used to continue. Open the address that you wanted again."})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
	if err := r.ParseForm(); err != nil {
		coaching.Refused(RefusedRequest)
		trouble := Trouble{http.StatusBadRequest, RefusedRequest, "This could not be read", "Go back and send the form once more."}
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			trouble.Status, trouble.Text = http.StatusRequestEntityTooLarge, "What was sent is too long. Go back and say it in fewer words."
		}
		p.trouble(w, r, trouble)
		return
	}
	p.reply(w, r, coaching.Accept(ContinueRequest{
		Client:        clientOf(r),
		Token:         r.Form.Get(blockpage.FieldToken),
		Target:        r.Form.Get(blockpage.FieldTarget),
		Justification: r.Form.Get(blockpage.FieldJustification),
	}))
}

// reply shows what became of a request.
func (p *portal) reply(w http.ResponseWriter, r *http.Request, reply ContinueReply) {
	switch {
	case reply.Trouble != nil:
		p.trouble(w, r, *reply.Trouble)
	case reply.Continued != nil:
		p.continued(w, r, reply.Continued)
	case reply.Refusal.Offer.Missing && formatFor(r) == blockpage.FormatJSON:
		p.trouble(w, r, missingJustification())
	default:
		blockpage.Write(w, r, statusOf(reply.Refusal), *reply.Refusal)
	}
}

// missingJustification is what a program is told that gave none. It has the
// link already; a person gets the form once more.
func missingJustification() Trouble {
	return Trouble{http.StatusUnprocessableEntity, "justification", "A justification is wanted",
		"Say what it is needed for, in the field " + blockpage.FieldJustification + ", and send this again."}
}

// statusOf is the status of a page: the offer was asked for, and what comes
// back for want of a justification or is blocked was not.
func statusOf(refusal *blockpage.Refusal) int {
	switch {
	case !refusal.Offer.Form:
		return http.StatusForbidden
	case refusal.Offer.Missing:
		return http.StatusUnprocessableEntity
	default:
		return http.StatusOK
	}
}

// continued sends whoever pressed the button on to what they wanted, and tells
// everybody else that the way is open.
func (p *portal) continued(w http.ResponseWriter, r *http.Request, c *Continued) {
	until := blockpage.NewInstant(c.Until)
	text, end := c.What+" is not refused by the policy now.", "\n"
	if until != (blockpage.Instant{}) {
		text = c.What + " is open to you until "
		end = until.Text + ".\n"
	}
	format := formatFor(r)
	status := http.StatusOK
	if r.Method == http.MethodPost && c.Back != "" && format != blockpage.FormatJSON {
		w.Header().Set("Location", c.Back)
		status = http.StatusSeeOther
	}
	switch format {
	case blockpage.FormatJSON:
		writeJSON(w, status, continuedJSON{Open: true, Until: until.Machine, Location: c.Back})
	case blockpage.FormatHTML:
		p.pages.writeStatus(w, status, p.pages.notice, noticePage{Organisation: p.facts.Organisation(), Title: "You may go on", Text: text, Until: until, Link: c.Back})
	default:
		writeText(w, status, text+end)
	}
}

// continuedJSON tells a program that the way is open.
type continuedJSON struct {
	Open     bool   `json:"open"`
	Until    string `json:"until,omitempty"`
	Location string `json:"location,omitempty"`
}

// trouble says why a link cannot be used.
func (p *portal) trouble(w http.ResponseWriter, r *http.Request, t Trouble) {
	switch formatFor(r) {
	case blockpage.FormatJSON:
		writeJSON(w, t.Status, map[string]string{"error": t.Text, "reason": t.Reason})
	case blockpage.FormatHTML:
		p.pages.writeStatus(w, t.Status, p.pages.notice, noticePage{Organisation: p.facts.Organisation(), Title: t.Title, Text: t.Text})
	default:
		writeText(w, t.Status, t.Title+". "+t.Text+"\n")
	}
}

func formatFor(r *http.Request) blockpage.Format {
	return blockpage.Negotiate(strings.Join(r.Header.Values("Accept"), ","))
}

// noticePage fills the page of a short notice.
type noticePage struct {
	Organisation policy.Organisation
	Title, Text  string
	Until        blockpage.Instant // that ends the text; zero: none
	Link         string            // to go on to; "": none
}
