package blockpage

import (
	"encoding/json"
	"time"
)

// Render writes the refusal in one format. It cannot fail: should the page's
// template ever break, the text form stands in.
func (r *Refusal) Render(format Format) []byte {
	switch format {
	case FormatHTML:
		return r.html()
	case FormatJSON:
		return r.json()
	default:
		return r.text()
	}
}

// entry is the JSON form. Its keys are part of the contract.
type entry struct {
	Action       string   `json:"action"`
	Host         string   `json:"host"`
	App          string   `json:"app"`
	AppName      string   `json:"app_name"`
	Rule         string   `json:"rule"`
	Reason       string   `json:"reason"`
	Message      string   `json:"message"`
	Alternatives []string `json:"alternatives"`
	Organisation string   `json:"organisation"`
	Contact      string   `json:"contact"`
	Decision     string   `json:"decision"`
	Revision     string   `json:"revision"`

	SignIn bool `json:"sign_in,omitempty"`

	// Only where there is an offer.
	Continue      string `json:"continue,omitempty"`
	Justification string `json:"justification,omitempty"`
	GrantSeconds  int64  `json:"grant_seconds,omitempty"`
}

func (r *Refusal) json() []byte {
	alternatives := r.Alternatives
	if alternatives == nil {
		alternatives = []string{} // a reader may loop over it without asking
	}
	e := entry{
		Action:       r.Action.String(),
		Host:         r.Host,
		App:          r.App,
		AppName:      r.AppName,
		Rule:         r.Rule,
		Reason:       r.Reason,
		Message:      tidy(r.Message),
		Alternatives: alternatives,
		Organisation: r.Organisation,
		Contact:      r.Contact,
		Decision:     r.Decision,
		Revision:     r.Revision,
		SignIn:       r.SignIn,
	}
	if r.Offer.Open() {
		e.Continue = r.Offer.URL
		e.Justification = r.Offer.Justification.String()
		e.GrantSeconds = int64(r.Offer.Lasts / time.Second)
	}
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return r.text()
	}
	return append(data, '\n')
}
