package blockpage

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

func TestNegotiate(t *testing.T) {
	tests := []struct {
		accept string
		want   Format
	}{
		{"", FormatText},
		{"*/*", FormatText},
		{"text/html", FormatHTML},
		{"TEXT/HTML", FormatHTML},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", FormatHTML},
		{"application/json", FormatJSON},
		{"application/json, text/plain, */*", FormatJSON},
		{"text/plain, application/json", FormatText},
		{"text/html;q=0.5, application/json;q=0.9", FormatJSON},
		{"text/html;q=0, application/json;q=0.1", FormatJSON},
		{"text/html;q=0", FormatText},
		{"text/html;q=nonsense", FormatText},
		{"text/html;q=7", FormatText},
		{"text/html;q=NaN", FormatText},
		{"text/html; charset=utf-8; Q=0.3", FormatHTML},
		{"image/avif,image/webp,*/*;q=0.8", FormatText},
		{",,;;,text/html", FormatHTML},
		{strings.Repeat("a/b,", 300) + "text/html", FormatText}, // beyond what is read
	}
	for _, test := range tests {
		if got := Negotiate(test.accept); got != test.want {
			t.Errorf("Negotiate(%.60q) = %d, want %d", test.accept, got, test.want)
		}
	}
}

func TestWrite(t *testing.T) {
	for accept, contentType := range map[string]string{
		"":                 "text/plain; charset=utf-8",
		"text/html":        "text/html; charset=utf-8",
		"application/json": "application/json",
	} {
		r := httptest.NewRequest(http.MethodGet, "http://us04web.zoom.us/", nil)
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		w := httptest.NewRecorder()
		Write(w, r, http.StatusForbidden, memo())
		if w.Code != http.StatusForbidden {
			t.Errorf("%q: status %d", accept, w.Code)
		}
		for name, want := range map[string]string{
			"Content-Type":           contentType,
			"Content-Length":         strconv.Itoa(w.Body.Len()),
			"Cache-Control":          "no-store",
			"X-Content-Type-Options": "nosniff",
			"X-Sallyport-Rule":       "zoom-memo",
			"X-Sallyport-Decision":   "k3f9x2ab-1a",
			"Vary":                   "Accept",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%q: %s is %q, want %q", accept, name, got, want)
			}
		}
		hasPolicy := w.Header().Get("Content-Security-Policy") != ""
		if hasPolicy != (accept == "text/html") {
			t.Errorf("%q: content security policy present: %v", accept, hasPolicy)
		}
	}
}

func TestWriteHead(t *testing.T) {
	w := httptest.NewRecorder()
	Write(w, httptest.NewRequest(http.MethodHead, "http://zoom.us/", nil), http.StatusForbidden, memo())
	if w.Body.Len() != 0 || w.Header().Get("Content-Length") == "0" {
		t.Errorf("HEAD got %d bytes of body, Content-Length %s", w.Body.Len(), w.Header().Get("Content-Length"))
	}
}

func TestHeaderValue(t *testing.T) {
	for text, want := range map[string]string{
		"zoom-memo":               "zoom-memo",
		"no way round":            "no way round",
		" edge ":                  "%20edge%20",
		"a\r\nSet-Cookie: b":      "a%0D%0ASet-Cookie: b",
		"100%":                    "100%25",
		"règle":                   "r%C3%A8gle",
		"":                        "",
		strings.Repeat("x", 1000): strings.Repeat("x", maxHeaderValue),
	} {
		if got := headerValue(text); got != want {
			t.Errorf("headerValue(%.40q) = %q, want %q", text, got, want)
		}
	}
}
