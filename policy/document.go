package policy

import (
	"net/netip"
	"regexp"
	"time"
)

// File is one source file: its name as it is to be shown in messages, and its
// bytes.
type File struct {
	Name string
	Data []byte
}

// Document is a policy as written: parsed, checked for form, references not
// yet resolved. Parse makes it, Compile consumes it.
type Document struct {
	Files        []string
	Location     *time.Location // for every time that names no zone; never nil
	Organisation Organisation
	ReportOnly   bool // enforcement: report-only at the top
	Groups       []Group
	Apps         []App
	Lists        []ListSource
	Exceptions   []Rule
	Rules        []Rule
	Default      Action // ActionAllow or ActionBlock
	DefaultGiven bool   // the policy says so itself
	Tests        []Test
}

// Organisation is who speaks to people that are refused.
type Organisation struct {
	Name    string
	Contact string
	Zone    *time.Location // in which its people read times: the policy's; nil: not said
}

// Reference is a name that stands for something defined elsewhere, with the
// place where it was written.
type Reference struct {
	Position
	Name string
}

// Network is a prefix with the place where it was written.
type Network struct {
	Position
	Prefix netip.Prefix // masked
}

// Group is a named set of clients.
type Group struct {
	Position
	Name      string
	Networks  []Network
	Users     []Reference // lower case
	Devices   []Reference // lower case
	Directory []Reference
	Groups    []Reference // nested groups
}

// PatternKind says how a Pattern matches names.
type PatternKind uint8

// The ways a domain can be written in a policy.
const (
	PatternSuffix PatternKind = iota // zoom.us: the name and everything under it
	PatternExact                     // =zoom.us: that name alone
	PatternBelow                     // *.zoom.us: everything under it, not itself
	PatternRegexp                    // /re/: RE2 on the canonical name
)

// Pattern is one domain selector.
type Pattern struct {
	Position
	Kind   PatternKind
	Name   string         // canonical name; empty for PatternRegexp
	Regexp *regexp.Regexp // for PatternRegexp only
	Text   string         // as written
}

// App is one product: the names and addresses by which it is known.
type App struct {
	Position
	ID              string
	Name            string // for people
	Vendor          string
	Category        string
	Extends         string // id of the app that this one widens; empty where none
	DomainBlock     string // yes, partial or no: whether names alone can stop it
	DomainBlockNote string
	Notes           string
	Domains         []AppDomain
	Networks        []AppNetwork
	Ports           []AppPort
	BuiltIn         bool // comes from the catalogue
}

// AppDomain is a name of an app. A shared name serves other things too and
// never matches the app.
type AppDomain struct {
	Pattern
	Role   string // core, media, cdn or shared
	Source string // where the fact comes from
	Note   string
}

// Shared reports whether the name serves other things too.
func (d AppDomain) Shared() bool { return d.Role == "shared" }

// AppNetwork is a prefix of an app.
type AppNetwork struct {
	Network
	Role   string
	Source string
	Note   string
}

// Shared reports whether the prefix serves other things too.
func (n AppNetwork) Shared() bool { return n.Role == "shared" }

// AppPort is a port range that an app is known to use. It is information for
// firewalls and reports: it does not narrow what the app matches.
type AppPort struct {
	PortRange
	Source string
}

// ListSource is a named big list. Exactly one of File and URL is set; what
// follows URL is for lists by URL only.
type ListSource struct {
	Position
	Name string
	File string // as written, relative to the policy file that names it

	URL     string        // http or https, with a host, without credentials
	Refresh time.Duration // how often it is asked for; 0: the gateway's usual interval
	SHA256  string        // of the only content that is taken, lower-case hexadecimal; empty: any
	MaxSize int64         // bytes, unpacked; 0: the gateway's usual bound
}

// PortRange is an inclusive range of ports of one protocol, or of both.
type PortRange struct {
	Position
	Any      bool // no protocol named: TCP and UDP
	Protocol Protocol
	From, To uint16
}

// Who selects subjects. The selectors are alternatives; an empty Who is
// everyone.
type Who struct {
	Position
	Groups   []Reference
	Users    []Reference
	Networks []Network
	Devices  []Reference
	Except   *Who
}

// What selects destinations. The selectors are alternatives, narrowed by
// Ports; an empty What is everything.
type What struct {
	Position
	Apps       []Reference
	Categories []Reference
	Domains    []Pattern
	Lists      []Reference
	Networks   []Network
	Ports      []PortRange
	Except     *What // Ports and Except of it are not allowed
}

// AnswerMode is how the DNS door refuses.
type AnswerMode uint8

// The answer modes of the contract. AnswerInherit takes the gateway's.
const (
	AnswerInherit AnswerMode = iota
	AnswerNull
	AnswerNXDOMAIN
	AnswerNODATA
	AnswerRefused
	AnswerPage
)

// Rule is one line of policy, exceptions included.
type Rule struct {
	Position
	Name          string
	Exception     bool
	Who           Who
	What          What
	When          When
	Action        Action
	ReportOnly    bool // enforcement: report-only on this rule
	Doors         []Door
	Answer        AnswerMode
	StripH3       bool          // at the DNS door, take HTTP/3 out of what this rule's destinations offer
	Grant         time.Duration // how long a "continue" holds; ActionWarn only
	Justification Justification // what is asked of whoever continues; ActionWarn only
	Reason        string
	Message       string
	Alternatives  []string
	Ticket        string
	ApprovedBy    string
}

// Test is one line of a policy's own tests.
type Test struct {
	Position
	Who  Identity
	Host Host
	Port uint16
	Door Door      // 0: the proxy door where a port is given, else both
	At   time.Time // zero: the time of the run
	Want Action    // ActionMonitor: allowed, and a monitoring rule matched
	By   string    // rule that must decide; empty: any
	Text string    // for messages: who and what as written
}
