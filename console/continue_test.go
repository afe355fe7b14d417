package console

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/blockpage"
	"github.com/sallyport/sallyport/policy"
)

// coachingPortal is a portal whose gateway knows the tokens below, and notes
// what it is asked.
type coachingPortal struct {
	http.Handler
	offered, accepted []ContinueRequest
	refused           []string
}

func newCoachingPortal() *coachingPortal {
	p := &coachingPortal{}
	offer := &blockpage.Refusal{
		Action: policy.ActionWarn, AppName: "Jitsi", Rule: "coach", Reason: "Not approved",
		Offer: blockpage.Offer{URL: "http://gate/continue?t=good", Form: true, Token: "good", Target: "http://meet.jit.si/a"},
	}
	until := time.Date(2020, 4, 1, 17, 0, 0, 0, time.UTC)
	replies := map[string]ContinueReply{
		"good":    {Refusal: offer},
		"missing": {Refusal: &blockpage.Refusal{Offer: blockpage.Offer{Form: true, Missing: true}}},
		"blocked": {Refusal: &blockpage.Refusal{Rule: "memo", Reason: "because of the memo"}},
		"open":    {Continued: &Continued{What: "Jitsi", Until: until, Back: "http://meet.jit.si/a?b=<c>"}},
		"lifted":  {Continued: &Continued{What: "meet.jit.si"}},
		"":        {Trouble: &Trouble{http.StatusBadRequest, "token", "This link cannot be used", "Use another."}},
		"expired": {Trouble: &Trouble{http.StatusGone, "expired", "This link has expired", "Open <the> address again."}},
	}
	p.Handler = NewPortal(PortalConfig{Hosts: []string{"gate.corp.example"}}, PortalFacts{
		Organisation: func() policy.Organisation { return policy.Organisation{Contact: "it@corp.example"} },
		Refusal: func(context.Context, netip.Addr, policy.Host, string) (blockpage.Refusal, bool) {
			return blockpage.Refusal{}, false
		},
		Coaching: Coaching{
			Offer: func(r ContinueRequest) ContinueReply {
				p.offered = append(p.offered, r)
				return replies[r.Token]
			},
			Accept: func(r ContinueRequest) ContinueReply {
				p.accepted = append(p.accepted, r)
				if r.Token == "good" {
					return replies["open"]
				}
				return replies[r.Token]
			},
			Refused: func(reason string) { p.refused = append(p.refused, reason) },
		},
	})
	return p
}

// send posts a form as the portal's own page does.
func (p *coachingPortal) send(body string, edit func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/continue", strings.NewReader(body))
	r.Host, r.RemoteAddr = "gate.corp.example:8080", "192.0.2.1:40000"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "http://gate.corp.example:8080")
	r.Header.Set("Accept", "text/html")
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

func TestContinuePages(t *testing.T) {
	for _, test := range []struct {
		method, target, accept string
		status                 int
		has, location          string
	}{
		{"GET", "/continue?t=good&u=x", "text/html", 200, `<form method="post" action="/continue">`, ""},
		{"HEAD", "/continue?t=good", "text/html", 200, "", ""},
		{"GET", "/continue?t=good", "application/json", 200, `"continue": "http://gate/continue?t=good"`, ""},
		{"GET", "/continue?t=good", "*/*", 200, "send a POST request", ""},
		{"GET", "/continue?t=blocked", "text/html", 403, "because of the memo", ""},
		{"GET", "/continue?t=open", "text/html", 200, `href="http://meet.jit.si/a?b=%3cc%3e"`, ""},
		{"GET", "/continue?t=open", "*/*", 200, "Jitsi is open to you until Wed 1 Apr 2020, 17:00 UTC.", ""},
		{"GET", "/continue?t=open", "text/html", 200, `<p>Jitsi is open to you until <time datetime="2020-04-01T17:00:00Z">Wed 1 Apr 2020, 17:00 UTC</time>.</p>`, ""},
		{"GET", "/continue?t=open", "application/json", 200, `"until": "2020-04-01T17:00:00Z"`, ""},
		{"GET", "/continue?t=lifted", "*/*", 200, "meet.jit.si is not refused by the policy now", ""},
		{"GET", "/continue?t=expired", "text/html", 410, "Open &lt;the&gt; address again.", ""},
		{"GET", "/continue?t=expired", "application/json", 410, `"reason": "expired"`, ""},
		{"GET", "/continue?t=expired", "", 410, "This link has expired. Open <the> address again.\n", ""},

		{"POST", "/continue?t=good", "text/html", 303, "Jitsi is open to you", "http://meet.jit.si/a?b=<c>"},
		{"POST", "/continue?t=good", "*/*", 303, "Jitsi is open to you", "http://meet.jit.si/a?b=<c>"},
		{"POST", "/continue?t=good", "application/json", 200, `"open": true`, ""},
		{"POST", "/continue?t=lifted", "text/html", 200, "not refused", ""},
		{"POST", "/continue?t=missing", "text/html", 422, "Please say what you need it for", ""},
		{"POST", "/continue?t=missing", "*/*", 422, "This destination is discouraged", ""},
		{"POST", "/continue?t=missing", "application/json", 422, `"reason": "justification"`, ""},
		{"POST", "/continue?t=missing", "application/json", 422, `"error": "Say what it is needed for, in the field justification`, ""},
		{"POST", "/continue?t=blocked", "*/*", 403, "because of the memo", ""},
		{"POST", "/continue?t=expired", "*/*", 410, "expired", ""},
		{"PUT", "/continue?t=good", "*/*", 405, "", ""},
	} {
		p := newCoachingPortal()
		w := ask(p, test.method, test.target, func(r *http.Request) {
			r.Host = "192.0.2.9:8080"
			r.Header.Set("Accept", test.accept)
		})
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.has) || w.Header().Get("Location") != test.location {
			t.Errorf("%s %s for %q: got %d, Location %q\n%s", test.method, test.target, test.accept, w.Code, w.Header().Get("Location"), w.Body)
		}
		if w.Code != 405 && (w.Header().Get("Cache-Control") != "no-store" || !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'none'")) {
			t.Errorf("%s %s: %v", test.method, test.target, w.Header())
		}
		if (test.method == "GET" || test.method == "HEAD") && len(p.accepted) > 0 {
			t.Errorf("%s %s has granted something", test.method, test.target)
		}
	}
}

// TestContinueIsHandedOn: what the gateway is asked is what was sent, from the
// form or from the address.
func TestContinueIsHandedOn(t *testing.T) {
	client := netip.MustParseAddr("192.0.2.1")
	p := newCoachingPortal()
	if w := p.send("t=good&u=http%3A%2F%2Fmeet.jit.si%2Fa&justification=a+customer%21", nil); w.Code != http.StatusSeeOther {
		t.Errorf("form: %d %s", w.Code, w.Body)
	}
	w := p.send("justification=because", func(r *http.Request) {
		r.URL.RawQuery = "t=good&u=x"
		r.RemoteAddr = "[::ffff:192.0.2.1]:1"
		r.Header.Del("Origin")
	})
	if w.Code != http.StatusSeeOther {
		t.Errorf("address and field: %d %s", w.Code, w.Body)
	}
	p.send("t=good", func(r *http.Request) { r.Header.Del("Content-Type") }) // no form: a token is missing
	want := []ContinueRequest{
		{client, "good", "http://meet.jit.si/a", "a customer!"},
		{client, "good", "x", "because"},
		{client, "", "", ""},
	}
	if !slices.Equal(p.accepted, want) {
		t.Errorf("got %+v", p.accepted)
	}
}

// TestContinueAcrossSites sends what other sites' pages could have a browser
// send.
func TestContinueAcrossSites(t *testing.T) {
	for _, test := range []struct {
		name   string
		edit   func(*http.Request)
		status int
		reason string
	}{
		{"own page", nil, 303, ""},
		{"own page, browser says so", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }, 303, ""},
		{"typed in", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "none"); r.Header.Del("Origin") }, 303, ""},
		{"a program", func(r *http.Request) { r.Header.Del("Origin") }, 303, ""},
		{"by address", func(r *http.Request) { r.Host = "192.0.2.9:8080"; r.Header.Set("Origin", "http://192.0.2.9:8080") }, 303, ""},
		{"another site", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, "origin"},
		{"another site of the company", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403, "origin"},
		{"another origin", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, 403, "origin"},
		{"another port", func(r *http.Request) { r.Header.Set("Origin", "http://gate.corp.example") }, 403, "origin"},
		{"sandboxed", func(r *http.Request) { r.Header.Set("Origin", "null") }, 403, "origin"},
		{"refused site", func(r *http.Request) { r.Header.Set("Origin", "http://meet.jit.si") }, 403, "origin"},
		{"rebound name", func(r *http.Request) {
			r.Host = "evil.example:8080"
			r.Header.Set("Origin", "http://evil.example:8080")
		}, 421, "origin"},
		{"rebound name of a program", func(r *http.Request) { r.Host = "evil.example"; r.Header.Del("Origin") }, 421, "origin"},
		{"too long", func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader("t=good&justification=" + strings.Repeat("x", maxBodyBytes)))
		}, 413, "request"},
		{"broken", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("t=good&justification=%zz")) }, 400, "request"},
		{"broken address", func(r *http.Request) { r.URL.RawQuery = "t=%zz" }, 400, "request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newCoachingPortal()
			w := p.send("t=good", test.edit)
			if w.Code != test.status {
				t.Errorf("got %d, want %d\n%s", w.Code, test.status, w.Body)
			}
			if (test.reason == "") != (len(p.accepted) == 1) {
				t.Errorf("accepted %+v", p.accepted)
			}
			if got := strings.Join(p.refused, " "); got != test.reason {
				t.Errorf("counted %q, want %q", got, test.reason)
			}
		})
	}
}

func TestContinueIsOff(t *testing.T) {
	h := testPortal(PortalConfig{})
	for _, method := range []string{"GET", "POST"} {
		if w := ask(h, method, "/continue?t=good", nil); w.Code != 404 || !strings.Contains(w.Body.String(), "lets nobody past") {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
}

// TestForeignNamesAreNotKept: a browser that was led here must ask for the
// site's address again, and soon, once the site is let through.
func TestForeignNamesAreNotKept(t *testing.T) {
	h := testPortal(PortalConfig{})
	for _, test := range []struct{ host, refresh, connection string }{
		{"zoom.us", "", "close"},
		{"www.corp.example", retryForeign, "close"},
		{"192.0.2.9", "", ""},
	} {
		w := ask(h, "GET", "/", func(r *http.Request) { r.Host, r.RemoteAddr = test.host, "192.0.2.1:1" })
		if w.Header().Get("Refresh") != test.refresh || w.Header().Get("Connection") != test.connection {
			t.Errorf("%s: %v", test.host, w.Header())
		}
	}
}

func TestGrantsAPI(t *testing.T) {
	at := time.Date(2020, 4, 1, 9, 0, 0, 0, time.UTC)
	held := []Grant{
		{ID: "b", Client: "10.0.0.1", Rule: "coach", App: "jitsi", Given: at.Add(time.Minute), Until: at.Add(time.Hour)},
		{ID: "a", User: "alice", Rule: "coach", App: "whereby", Given: at, Until: at.Add(time.Hour), Justification: "a customer"},
	}
	facts := testFacts()
	facts.Grants = GrantFacts{
		List: func() []Grant { return held },
		Revoke: func(_ context.Context, id string) (Grant, error) {
			switch id {
			case "a":
				return held[1], nil
			case "b":
				return held[0], io.ErrShortWrite
			default:
				return Grant{}, ErrNoGrant
			}
		},
	}
	h := NewAdmin(AdminConfig{Loopback: true}, facts)
	for _, test := range []struct {
		method, target string
		status         int
		body           string
	}{
		{"GET", "/api/v1/grants", 200, `"held": 2`},
		{"GET", "/api/v1/grants?user=alice", 200, `"justification": "a customer"`},
		{"GET", "/api/v1/grants?usr=alice", 400, `unknown parameter \"usr\": use user, client, rule or app`},
		{"GET", "/api/v1/grants?user=alice&=", 400, "use user, client, rule or app"},
		{"GET", "/api/v1/grants?app=a&app=b", 400, "parameter app is given 2 times"},
		{"DELETE", "/api/v1/grants/a", 200, `"user": "alice"`},
		{"DELETE", "/api/v1/grants/b", 500, `"error": "short write"`},
		{"DELETE", "/api/v1/grants/c", 404, "no such grant"},
		{"DELETE", "/api/v1/grants/", 404, ""},
		{"DELETE", "/api/v1/grants", 405, ""},
		{"POST", "/api/v1/grants/a", 405, ""},
	} {
		w := ask(h, test.method, test.target, nil)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.body) {
			t.Errorf("%s %s: %d %s", test.method, test.target, w.Code, w.Body)
		}
	}
	for query, want := range map[string]string{"": "ba", "user=alice": "a", "client=10.0.0.1": "b", "rule=coach": "ba", "app=jitsi": "b", "app=jitsi&user=alice": "", "user=": "b"} {
		var got grantsReply
		if err := json.Unmarshal(ask(h, "GET", "/api/v1/grants?"+query, nil).Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		ids := ""
		for _, g := range got.Grants {
			ids += g.ID
		}
		if ids != want || got.Held != 2 {
			t.Errorf("%q: %s of %d, want %s", query, ids, got.Held, want)
		}
	}
	if w := ask(h, "DELETE", "/api/v1/grants/a", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }); w.Code != 403 {
		t.Errorf("another site's page ended a grant: %d", w.Code)
	}
	held = slices.Repeat(held, maxGrantsListed)
	var got grantsReply
	if err := json.Unmarshal(ask(h, "GET", "/api/v1/grants", nil).Body.Bytes(), &got); err != nil || len(got.Grants) != maxGrantsListed || got.Held != 2*maxGrantsListed {
		t.Errorf("%d of %d listed, %v", len(got.Grants), got.Held, err)
	}
	// Without a portal there are none.
	h = NewAdmin(AdminConfig{}, testFacts())
	if w := ask(h, "GET", "/api/v1/grants", nil); w.Code != 200 || !strings.Contains(w.Body.String(), `"grants": []`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask(h, "DELETE", "/api/v1/grants/a", nil); w.Code != 404 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
