package console

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// AdminFacts is everything that the admin listener shows or sets in motion.
// All fields must be set that do not say otherwise; the funcs must be safe for
// concurrent use.
type AdminFacts struct {
	Metrics http.Handler
	Ready   func() Readiness
	Reload  func(context.Context) ReloadReply
	Status  func() Status
	Explain func(Question) (policy.Explanation, error) // an error means a bad question
	Policy  func() PolicyReport
	Grants  GrantFacts // the zero GrantFacts holds none
}

// AdminConfig says how the admin listener protects itself.
type AdminConfig struct {
	// Loopback is true where the listener is bound to a loopback address:
	// every request must then name an address or localhost, so that a web
	// page on the administrator's machine cannot reach it by DNS rebinding.
	// Elsewhere that holds for requests that change something.
	Loopback bool

	// Hosts are further names by which the listener may be called.
	Hosts []string
}

// Readiness is the body of GET /readyz. A gateway that decides with its last
// good policy is ready; Problems then says what an administrator must mend.
type Readiness struct {
	Ready    bool     `json:"ready"`
	Problems []string `json:"problems"`
}

// ReloadReply is the body of POST /-/reload. Loaded is true where the policy
// on disk is the one in force now; otherwise the old one keeps deciding and
// Problems says why. An error among the Problems of a policy that was loaded is
// one of the users' file: those known before go on.
type ReloadReply struct {
	Loaded   bool            `json:"loaded"`
	Changed  bool            `json:"changed"`
	Revision string          `json:"revision"`
	Closed   int             `json:"tunnels_closed"`
	Problems policy.Problems `json:"problems"`
}

// Address is one bound listener.
type Address struct {
	Name    string `json:"name"` // "dns udp"
	Address string `json:"address"`
}

// Status is the body of GET /api/v1/status.
type Status struct {
	Version   string    `json:"version"`
	Commit    string    `json:"commit"`
	Go        string    `json:"go"`
	Tenant    string    `json:"tenant"`
	Revision  string    `json:"revision"` // of the policy in force
	Addresses []Address `json:"addresses"`
	Started   time.Time `json:"started"`
	Uptime    float64   `json:"uptime_seconds"`
	Tunnels   int       `json:"tunnels"`
	Ready     bool      `json:"ready"`
	Problems  []string  `json:"problems"`
}

// PolicyReport is the body of GET /api/v1/policy: the policy in force, what
// lint says of it, and how often each rule has decided since the start.
type PolicyReport struct {
	Revision   string          `json:"revision"`
	Files      []string        `json:"files"`
	Default    string          `json:"default"`
	ReportOnly bool            `json:"report_only"`
	Groups     []string        `json:"groups"`
	Rules      []RuleReport    `json:"rules"`
	Lists      []ListReport    `json:"lists"`
	Lint       policy.Problems `json:"lint"`
}

// RuleReport is one rule of a PolicyReport. Hits counts the decisions that the
// rule took; WouldHits those that it would have refused were it not only
// watching.
type RuleReport struct {
	Name       string   `json:"name"`
	Exception  bool     `json:"exception"`
	Action     string   `json:"action"`
	ReportOnly bool     `json:"report_only"`
	Doors      []string `json:"doors,omitempty"`
	From       string   `json:"from,omitempty"`
	Until      string   `json:"until,omitempty"`
	Hours      []string `json:"hours,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Ticket     string   `json:"ticket,omitempty"`
	Place      string   `json:"place,omitempty"`
	Hits       uint64   `json:"hits"`
	WouldHits  uint64   `json:"would_hits"`
}

// ListReport is one big list of a PolicyReport. Trouble is empty unless the
// file could not be used and its last good copy decides.
type ListReport struct {
	Name    string `json:"name"`
	File    string `json:"file"`
	Format  string `json:"format"`
	Entries int    `json:"entries"`
	Skipped int    `json:"skipped"`
	Trouble string `json:"trouble,omitempty"`
}

// admin answers the admin listener.
type admin struct {
	config AdminConfig
	facts  AdminFacts
	pages  *pages
}

// NewAdmin makes the handler of the admin listener.
func NewAdmin(config AdminConfig, facts AdminFacts) http.Handler {
	return (&admin{config: config, facts: facts, pages: newPages()}).routes()
}

func (a *admin) index(w http.ResponseWriter, _ *http.Request) {
	a.pages.write(w, a.pages.admin, a.facts.Status())
}

func (a *admin) healthz(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "alive\n")
}

// readyz answers 200 as long as the gateway decides, with the last good policy
// if need be: taking a gateway out of service because of a typing error in an
// edit would lift the very ban that it enforces.
func (a *admin) readyz(w http.ResponseWriter, r *http.Request) {
	ready := a.facts.Ready()
	status := http.StatusOK
	if !ready.Ready {
		status = http.StatusServiceUnavailable
	}
	if wantsJSON(r) {
		if ready.Problems == nil {
			ready.Problems = []string{}
		}
		writeJSON(w, status, ready)
		return
	}
	lines := []string{"ready"}
	if !ready.Ready {
		lines[0] = "not ready"
	}
	lines = append(lines, ready.Problems...)
	writeText(w, status, strings.Join(lines, "\n")+"\n")
}

func (a *admin) reload(w http.ResponseWriter, r *http.Request) {
	reply := a.facts.Reload(r.Context())
	if reply.Problems == nil {
		reply.Problems = policy.Problems{}
	}
	status := http.StatusOK
	if !reply.Loaded || reply.Problems.HasErrors() {
		status = http.StatusUnprocessableEntity
	}
	writeJSON(w, status, reply)
}

func (a *admin) status(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, a.facts.Status())
}

func (a *admin) policy(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, a.facts.Policy())
}

func (a *admin) explain(w http.ResponseWriter, r *http.Request) {
	question, err := questionFromQuery(r.URL.Query())
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	answer, err := a.facts.Explain(question)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func wantsJSON(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client has gone: nobody to tell
}

func writeError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]string{"error": message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, "cannot write the answer as JSON: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client has gone: nobody to tell
}
