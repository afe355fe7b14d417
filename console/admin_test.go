package console

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// testFacts are facts that a test can recognise, and change.
func testFacts() AdminFacts {
	return AdminFacts{
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a_metric 1\n") }),
		Ready:   func() Readiness { return Readiness{Ready: true} },
		Reload:  func(context.Context) ReloadReply { return ReloadReply{Loaded: true, Revision: "abc"} },
		Status: func() Status {
			return Status{Version: "v1<script>", Revision: "abc", Ready: true, Addresses: []Address{{"dns udp", "127.0.0.1:53"}}, Problems: []string{"mend <this>"}}
		},
		Explain: func(q Question) (policy.Explanation, error) {
			if q.Host == "" {
				return policy.Explanation{}, errors.New("no host is given")
			}
			return policy.Explanation{Action: "block", Fact: q.Host, Trace: []policy.Step{}}, nil
		},
		Policy: func() PolicyReport { return PolicyReport{Revision: "abc", Lint: policy.Problems{}} },
	}
}

func ask(h http.Handler, method, target string, edit func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "127.0.0.1:9180"
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAdminSurface(t *testing.T) {
	h := NewAdmin(AdminConfig{Loopback: true}, testFacts())
	for _, test := range []struct {
		method, target string
		status         int
		body           string
	}{
		{"GET", "/", 200, "/api/v1/status"},
		{"HEAD", "/", 200, ""},
		{"GET", "/metrics", 200, "a_metric 1"},
		{"GET", "/healthz", 200, "alive"},
		{"GET", "/readyz", 200, "ready"},
		{"POST", "/-/reload", 200, `"loaded": true`},
		{"GET", "/-/reload", 405, ""},
		{"DELETE", "/api/v1/policy", 405, ""},
		{"GET", "/api/v1/status", 200, `"name": "dns udp"`},
		{"GET", "/api/v1/policy", 200, `"lint": []`},
		{"GET", "/api/v1/explain?ip=10.0.0.1&host=zoom.us", 200, `"action": "block"`},
		{"GET", "/api/v1/explain?ip=10.0.0.1", 400, "no host is given"},
		{"GET", "/api/v1/explain?hots=zoom.us", 400, "unknown parameter"},
		{"GET", "/nothing", 404, ""},
	} {
		w := ask(h, test.method, test.target, nil)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.body) {
			t.Errorf("%s %s: got %d %q, want %d with %q", test.method, test.target, w.Code, w.Body, test.status, test.body)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: security headers are missing: %v", test.method, test.target, w.Header())
		}
	}
}

func TestIndexIsEscaped(t *testing.T) {
	body := ask(NewAdmin(AdminConfig{}, testFacts()), "GET", "/", nil).Body.String()
	for _, raw := range []string{"<script>", "<this>"} {
		if strings.Contains(body, raw) {
			t.Errorf("%s stands in the page as it is", raw)
		}
	}
}

func TestReadiness(t *testing.T) {
	facts := testFacts()
	facts.Ready = func() Readiness {
		return Readiness{Ready: true, Problems: []string{"policy.yaml:3:1: unknown key"}}
	}
	h := NewAdmin(AdminConfig{}, facts)
	if w := ask(h, "GET", "/readyz", nil); w.Code != 200 || w.Body.String() != "ready\npolicy.yaml:3:1: unknown key\n" {
		t.Errorf("the last good policy decides: got %d %q", w.Code, w.Body)
	}
	w := ask(h, "GET", "/readyz", func(r *http.Request) { r.Header.Set("Accept", "application/json") })
	var got Readiness
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || !got.Ready || len(got.Problems) != 1 {
		t.Errorf("as JSON: %v %s", err, w.Body)
	}
	facts.Ready = func() Readiness { return Readiness{} }
	if w := ask(NewAdmin(AdminConfig{}, facts), "GET", "/readyz", nil); w.Code != 503 || w.Body.String() != "not ready\n" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

func TestReloadFailure(t *testing.T) {
	facts := testFacts()
	facts.Reload = func(context.Context) ReloadReply {
		return ReloadReply{Revision: "old", Problems: policy.Problems{{
			Position: policy.Position{File: "policy.yaml", Line: 3, Column: 5}, Message: "unknown app",
		}}}
	}
	w := ask(NewAdmin(AdminConfig{}, facts), "POST", "/-/reload", nil)
	var got struct {
		Loaded   bool
		Revision string
		Problems []struct {
			File, Severity, Message string
			Line, Column            int
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if w.Code != 422 || got.Loaded || got.Revision != "old" || len(got.Problems) != 1 {
		t.Fatalf("got %d %+v", w.Code, got)
	}
	if p := got.Problems[0]; p.File != "policy.yaml" || p.Line != 3 || p.Column != 5 || p.Severity != "error" || p.Message != "unknown app" {
		t.Errorf("got %+v", p)
	}
}

// TestGuard sends what a web page could make an administrator's browser send.
func TestGuard(t *testing.T) {
	for _, test := range []struct {
		name     string
		config   AdminConfig
		method   string
		target   string
		host     string
		headers  map[string]string
		status   int
		reloaded bool
	}{
		{"address", AdminConfig{Loopback: true}, "POST", "/-/reload", "127.0.0.1:9180", nil, 200, true},
		{"IPv6 address", AdminConfig{Loopback: true}, "POST", "/-/reload", "[::1]:9180", nil, 200, true},
		{"no port", AdminConfig{Loopback: true}, "POST", "/-/reload", "[::1]", nil, 200, true},
		{"localhost", AdminConfig{Loopback: true}, "POST", "/-/reload", "LOCALHOST.:9180", nil, 200, true},
		{"rebound name", AdminConfig{Loopback: true}, "POST", "/-/reload", "evil.example:9180", nil, 421, false},
		{"rebound name reads", AdminConfig{Loopback: true}, "GET", "/api/v1/policy", "evil.example", nil, 421, false},
		{"name of its own", AdminConfig{Loopback: true, Hosts: []string{"admin.corp.example"}}, "POST", "/-/reload", "Admin.corp.example:9180", nil, 200, true},
		{"scrape by name", AdminConfig{}, "GET", "/metrics", "gateway.corp.example:9180", nil, 200, false},
		{"reload by unknown name", AdminConfig{}, "POST", "/-/reload", "gateway.corp.example:9180", nil, 421, false},
		{"no host", AdminConfig{Loopback: true}, "POST", "/-/reload", "", nil, 421, false},
		{"cross-site form", AdminConfig{Loopback: true}, "POST", "/-/reload", "127.0.0.1:9180", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403, false},
		{"other origin", AdminConfig{Loopback: true}, "POST", "/-/reload", "127.0.0.1:9180", map[string]string{"Origin": "http://evil.example"}, 403, false},
		{"same origin", AdminConfig{Loopback: true}, "POST", "/-/reload", "127.0.0.1:9180", map[string]string{"Sec-Fetch-Site": "same-origin"}, 200, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			facts, reloaded := testFacts(), false
			facts.Reload = func(context.Context) ReloadReply { reloaded = true; return ReloadReply{Loaded: true} }
			w := ask(NewAdmin(test.config, facts), test.method, test.target, func(r *http.Request) {
				r.Host = test.host
				for k, v := range test.headers {
					r.Header.Set(k, v)
				}
			})
			if w.Code != test.status || reloaded != test.reloaded {
				t.Errorf("got %d, reloaded %v; want %d, %v: %s", w.Code, reloaded, test.status, test.reloaded, w.Body)
			}
		})
	}
}

// TestServerIsBounded sends a head that is too large to a real server.
func TestServerIsBounded(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.Config = NewServer(NewAdmin(AdminConfig{}, testFacts()), zap.NewNop())
	server.Start()
	defer server.Close()
	r, err := http.NewRequest("GET", server.URL+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %s", response.Status)
	}
	if server.Config.ReadHeaderTimeout == 0 || server.Config.WriteTimeout == 0 || server.Config.IdleTimeout == 0 {
		t.Error("a wait is not bounded")
	}
}
