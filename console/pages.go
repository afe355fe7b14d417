package console

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/policy"
)

//go:embed pages.html
var pageSource string

//go:embed pages.css
var pageStyle string

// pages holds the pages of this package, ready to be filled in.
type pages struct {
	admin  *template.Template
	portal *template.Template
	notice *template.Template
	policy string // Content-Security-Policy that lets their own style through
}

// portalPage fills the portal's page. Host is set where the client came under
// a name that the policy lets through.
type portalPage struct {
	Organisation policy.Organisation
	Host         string
}

func newPages() *pages {
	// The sources are embedded: a test parses them, so Must cannot fail here.
	all := template.Must(template.New("pages").Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(pageStyle) },
		"isAddress": func(contact string) bool {
			return strings.Contains(contact, "@") && !strings.ContainsAny(contact, " /:")
		},
	}).Parse(pageSource))
	hash := sha256.Sum256([]byte(pageStyle))
	return &pages{
		admin:  all.Lookup("admin"),
		portal: all.Lookup("portal"),
		notice: all.Lookup("notice"),
		policy: "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; style-src 'sha256-" +
			base64.StdEncoding.EncodeToString(hash[:]) + "'",
	}
}

// write fills in a page whole before it sends the first byte.
func (p *pages) write(w http.ResponseWriter, page *template.Template, v any) {
	p.writeStatus(w, http.StatusOK, page, v)
}

func (p *pages) writeStatus(w http.ResponseWriter, status int, page *template.Template, v any) {
	var body bytes.Buffer
	if err := page.Execute(&body, v); err != nil {
		http.Error(w, "cannot write the page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", p.policy)
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // the client has gone: nobody to tell
}
