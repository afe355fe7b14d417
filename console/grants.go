package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Grant is one grant of GET /api/v1/grants.
type Grant struct {
	ID            string    `json:"id"`
	User          string    `json:"user"`   // "" where the grant is an address's
	Client        string    `json:"client"` // "" where it is a user's
	Rule          string    `json:"rule"`
	App           string    `json:"app"` // "" where what the rule found is no app's
	Host          string    `json:"host"`
	Door          string    `json:"door"`
	From          string    `json:"from"` // address from where it was continued
	Given         time.Time `json:"given"`
	Until         time.Time `json:"until"`
	Justification string    `json:"justification"`
	Decision      string    `json:"decision"`
}

// ErrNoGrant says that a grant is not held, or not any more.
var ErrNoGrant = errors.New("there is no such grant: it may have ended")

// GrantFacts is what the admin listener knows of grants. The zero GrantFacts
// holds none; otherwise both funcs must be set, and safe for concurrent use.
type GrantFacts struct {
	// List gives every grant that is held, the newest first.
	List func() []Grant

	// Revoke ends a grant. The error wraps ErrNoGrant where it is not held. Any
	// other error means that the grant has ended, and may come back.
	Revoke func(ctx context.Context, id string) (Grant, error)
}

// grantsReply is the body of GET /api/v1/grants.
type grantsReply struct {
	Held   int     `json:"held"`
	Grants []Grant `json:"grants"`
}

// maxGrantsListed bounds one answer; held says how many there are.
const maxGrantsListed = 1000

func (a *admin) grants(w http.ResponseWriter, r *http.Request) {
	filter, err := grantFilterFrom(r.URL.Query())
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	reply := grantsReply{Grants: []Grant{}}
	if a.facts.Grants.List != nil {
		reply.Grants = a.facts.Grants.List()
	}
	reply.Held = len(reply.Grants)
	reply.Grants = filter.matching(reply.Grants)
	reply.Grants = reply.Grants[:min(len(reply.Grants), maxGrantsListed)]
	writeJSON(w, http.StatusOK, reply)
}

// grantFilter is what a query asks for. What is nil is not asked for, while an
// empty text is that of grants that have none.
type grantFilter struct{ user, client, rule, app *string }

// grantFilterFrom reads a query. What it does not know is an error, since the
// answer would be to another question: whoever mistypes a user's name gets
// nobody's grants, and must not get everybody's for mistyping "user".
func grantFilterFrom(query url.Values) (grantFilter, error) {
	var f grantFilter
	known := map[string]**string{"user": &f.user, "client": &f.client, "rule": &f.rule, "app": &f.app}
	for key, given := range query {
		into, ok := known[key]
		switch {
		case !ok:
			return f, fmt.Errorf("unknown parameter %s: use user, client, rule or app", quote(key))
		case len(given) > 1:
			return f, fmt.Errorf("parameter %s is given %d times", key, len(given))
		}
		*into = &given[0]
	}
	return f, nil
}

// matching are the grants that have what is asked for.
func (f *grantFilter) matching(grants []Grant) []Grant {
	kept := make([]Grant, 0, min(len(grants), maxGrantsListed))
	is := func(wanted *string, value string) bool { return wanted == nil || *wanted == value }
	for i := range grants {
		if g := &grants[i]; is(f.user, g.User) && is(f.client, g.Client) && is(f.rule, g.Rule) && is(f.app, g.App) {
			kept = append(kept, *g)
		}
	}
	return kept
}

func (a *admin) revoke(w http.ResponseWriter, r *http.Request) {
	if a.facts.Grants.Revoke == nil {
		writeError(w, http.StatusNotFound, ErrNoGrant.Error())
		return
	}
	grant, err := a.facts.Grants.Revoke(r.Context(), r.PathValue("id"))
	switch {
	case errors.Is(err, ErrNoGrant):
		writeError(w, http.StatusNotFound, ErrNoGrant.Error())
	case err != nil:
		writeJSON(w, http.StatusInternalServerError, revokeReply{Ended: grant, Error: err.Error()})
	default:
		writeJSON(w, http.StatusOK, revokeReply{Ended: grant})
	}
}

// revokeReply is the body of DELETE /api/v1/grants/{id}.
type revokeReply struct {
	Ended Grant  `json:"ended"`
	Error string `json:"error,omitempty"`
}
