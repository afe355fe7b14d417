package coaching

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// maxLine bounds a line of the journal: more than any grant makes.
const maxLine = 16 << 10

// journalHeader is the first line of a journal.
const journalHeader = `{"sallyport":"grants","version":1}`

// line is a line of the journal: a grant that was given, or the end of one.
// Grants that end in their own time leave no line.
type line struct {
	Grant *entry `json:"grant,omitempty"`
	Ended string `json:"ended,omitempty"` // id
}

// entry is a grant in the journal.
type entry struct {
	ID            string     `json:"id"`
	User          string     `json:"user,omitempty"`
	Client        netip.Addr `json:"client,omitzero"`
	Rule          string     `json:"rule"`
	App           string     `json:"app,omitempty"`
	Door          string     `json:"door,omitempty"`
	Host          string     `json:"host,omitempty"`
	From          netip.Addr `json:"from,omitzero"`
	Given         time.Time  `json:"given"`
	Until         time.Time  `json:"until"`
	Justification string     `json:"justification,omitempty"`
	Decision      string     `json:"decision,omitempty"`
}

func lineOfGrant(g *Grant) line {
	return line{Grant: &entry{
		ID:            g.ID,
		User:          g.Key.User,
		Client:        g.Key.Client,
		Rule:          g.Key.Rule,
		App:           g.Key.App,
		Door:          g.Door.String(),
		Host:          g.Host,
		From:          g.From,
		Given:         g.Given.UTC(),
		Until:         g.Until.UTC(),
		Justification: g.Justification,
		Decision:      g.Decision,
	}}
}

func lineOfEnd(id string) line { return line{Ended: id} }

// append writes the line behind b, with its line break.
func (l line) append(b []byte) []byte {
	text, err := json.Marshal(l)
	if err != nil {
		return b // texts, addresses and times of our own can all be written
	}
	return append(append(b, text...), '\n')
}

// errLine says that a line is not one that a store writes.
var errLine = errors.New("not a line of a journal of grants")

// parseLine reads a line strictly: a grant that cannot be understood in full
// must not let anybody through.
func parseLine(text []byte) (line, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var l line
	if err := decoder.Decode(&l); err != nil {
		return line{}, err
	}
	_, err := decoder.Token()
	switch {
	case !errors.Is(err, io.EOF), (l.Grant == nil) == (l.Ended == ""):
		return line{}, errLine
	case l.Grant == nil:
		return l, nil
	case l.Grant.ID == "", l.Grant.Rule == "", (l.Grant.User == "") != l.Grant.Client.IsValid(), !l.Grant.Until.After(l.Grant.Given):
		return line{}, errLine
	default:
		return l, nil
	}
}

// grant is the entry as a store holds it.
func (e *entry) grant() Grant {
	door, _ := policy.ParseDoor(e.Door) // it is told of, and decides nothing
	return Grant{
		ID:            e.ID,
		Key:           policy.GrantKey{Holder: policy.Holder{User: e.User, Client: e.Client}, Rule: e.Rule, App: e.App},
		Door:          door,
		Host:          e.Host,
		From:          e.From,
		Given:         e.Given,
		Until:         e.Until,
		Justification: e.Justification,
		Decision:      e.Decision,
	}
}
