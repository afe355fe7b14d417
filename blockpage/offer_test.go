package blockpage

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                            "",
		-time.Hour:                   "",
		time.Minute:                  "1 minute",
		90 * time.Second:             "1 minute and 30 seconds",
		8 * time.Hour:                "8 hours",
		90 * time.Minute:             "1 hour and 30 minutes",
		24 * time.Hour:               "1 day",
		49*time.Hour + time.Second:   "2 days and 1 hour",
		25*time.Hour + time.Minute:   "1 day and 1 hour",
		24*time.Hour + time.Minute:   "1 day",
		2 * 24 * time.Hour:           "2 days",
		500 * time.Millisecond:       "",
		time.Hour + time.Millisecond: "1 hour",
	} {
		if got := inWords(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// TestOfferInEveryForm: whatever reads a refusal learns where to continue.
func TestOfferInEveryForm(t *testing.T) {
	for name, refusal := range map[string]Refusal{"warn": goldenRefusals()["warn"], "offer": goldenRefusals()["offer"], "form": goldenRefusals()["form"]} {
		for accept, form := range map[string]string{"text/html": `method="post" action="/continue"`, "application/json": `"continue": "http://gate`, "": "\n  http://gate"} {
			r := httptest.NewRequest(http.MethodGet, "http://zoom.us/", nil)
			r.Header.Set("Accept", accept)
			w := httptest.NewRecorder()
			Write(w, r, http.StatusForbidden, refusal)
			body := w.Body.String()
			if got := w.Header().Get(ContinueHeader); got != refusal.Offer.URL {
				t.Errorf("%s, %q: header %q", name, accept, got)
			}
			if name == "offer" && accept == "text/html" {
				form = `href="http://gate.corp.example:8080/continue?t=AQIBuw&amp;u=http%3A%2F%2Fzoom.us%2Fj%2F123%3Fa%3Db"`
			}
			if strings.Contains(body, form) != (name != "warn") {
				t.Errorf("%s, %q: %s", name, accept, body)
			}
		}
	}
}

// TestFormIsConfined: a page with a form may send it, and be known as its
// origin; a page without must do neither.
func TestFormIsConfined(t *testing.T) {
	for name, want := range map[string][2]string{
		"offer": {"form-action 'none'", "no-referrer"},
		"form":  {"form-action 'self' http: https:", "same-origin"},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://zoom.us/", nil)
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		Write(w, r, http.StatusOK, goldenRefusals()[name])
		csp := w.Header().Get("Content-Security-Policy")
		if !strings.HasSuffix(csp, want[0]) || !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") || w.Header().Get("Referrer-Policy") != want[1] {
			t.Errorf("%s: %v", name, w.Header())
		}
	}
}

func TestContinueHeaderIsSafe(t *testing.T) {
	for _, url := range []string{"http://gate/\r\nX-Evil: yes", "http://gate/ä", "http://gate/ x", "http://gate/" + strings.Repeat("x", maxContinue)} {
		o := Offer{URL: url}
		if got := o.header(); got != "" {
			t.Errorf("%.30q became %.30q", url, got)
		}
	}
}

func BenchmarkPages(b *testing.B) {
	for _, name := range []string{"memo", "offer", "form"} {
		refusal := goldenRefusals()[name]
		for form, ending := range map[Format]string{FormatHTML: "html", FormatJSON: "json", FormatText: "text"} {
			b.Run(name+"/"+ending, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_ = refusal.Render(form)
				}
			})
		}
	}
}
