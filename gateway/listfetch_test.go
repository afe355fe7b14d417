package gateway

import (
	"compress/gzip"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// fetchBench is a listFetcher without a gateway.
type fetchBench struct {
	*listFetcher
	t     *testing.T
	state string
}

// newFetchBench makes a fetcher that trusts a test's own server.
func newFetchBench(t *testing.T, server *httptest.Server) *fetchBench {
	t.Helper()
	limits := defaultListLimits()
	var roots *x509.CertPool
	if server != nil && server.Certificate() != nil {
		roots = x509.NewCertPool()
		roots.AddCert(server.Certificate())
	}
	state := filepath.Join(t.TempDir(), "state")
	log := zap.NewNop()
	return &fetchBench{t: t, state: state, listFetcher: newListFetcher(listFetchDeps{
		store:   newListStore(state),
		parser:  &listParser{log: log},
		metrics: newListMetrics(prometheus.NewRegistry()),
		log:     log,
		now:     time.Now,
		get:     newListClient(newListDialer(time.Second).dial, roots, "v1 test", limits).get,
		try:     func(policy.ListSource, string, *policy.List) error { return nil },
		random:  randomBelow,
	}, limits)}
}

// once fetches a list that is wanted from now on.
func (b *fetchBench) once(source policy.ListSource) (string, error) {
	b.t.Helper()
	b.want([]policy.ListSource{source}, nil)
	return b.fetch(b.t.Context(), source, b.deps.store.key(source))
}

// copy is what is kept of a list; empty: nothing.
func (b *fetchBench) copy(source policy.ListSource) string {
	b.t.Helper()
	record, err := b.deps.store.record(b.deps.store.key(source))
	if errors.Is(err, errNoCopy) {
		return ""
	}
	if err != nil {
		b.t.Fatal(err)
	}
	data, err := b.deps.store.read(record)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data)
}

// parts are downloads that were left lying about.
func (b *fetchBench) parts() []string {
	b.t.Helper()
	parts, err := filepath.Glob(filepath.Join(b.deps.store.dir, partPrefix+"*"))
	if err != nil {
		b.t.Fatal(err)
	}
	return parts
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// body answers with a text.
func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = strings.NewReader(text).WriteTo(w) }
}

// inPieces answers without saying how much will come, until a client has had
// enough.
func inPieces(piece string, every time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			if _, err := w.Write([]byte(piece)); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-ticker.C:
			}
		}
	}
}

// TestFetch has a server do everything that servers do. The copy of before is
// there each time, and must be what is there afterwards, unless the fetch is
// good.
func TestFetch(t *testing.T) {
	good, bad := listOf("good", 100), listOf("bad", 100)
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		edit   func(*policy.ListSource, *listLimits)
		result string // or
		want   string // in the error
	}{
		{name: "another content", answer: body(good), result: fetchFresh},
		{name: "the same content, without a version", answer: body(bad), result: fetchUnchanged},
		{name: "packed", answer: packed(good), result: fetchFresh},
		{name: "moved", answer: redirect("/elsewhere", body(good)), result: fetchFresh},
		{name: "not found", answer: status(http.StatusNotFound), want: "the server answered 404 Not Found"},
		{name: "nothing", answer: status(http.StatusNoContent), want: "the server answered 204 No Content"},
		{name: "part of it", answer: status(http.StatusPartialContent), want: "the server answered 206"},
		{name: "moved without end", answer: redirect("/", nil), want: errRedirects.Error()},
		{name: "moved out of protection", answer: redirect("http://127.0.0.1:1/", nil), want: errDowngrade.Error()},
		{name: "moved to a file", answer: redirect("file:///etc/hosts", nil), want: errDowngrade.Error()},
		{name: "too large, and says so", answer: body(good), edit: largest(100), want: `it has more than 100 bytes: raise its "max_size"`},
		{name: "too large, and does not say", answer: inPieces(good, time.Millisecond), edit: largest(10_000), want: "it has more than 10000 bytes"},
		{name: "too large once unpacked", answer: packed(strings.Repeat(good, 1000)), edit: largest(100_000), want: "it has more than 100000 bytes"},
		{name: "broken off", answer: brokenOff(good), want: "it broke off after"},
		{name: "packed and broken off", answer: packedBrokenOff(good), want: "it broke off after"},
		{name: "stalled", answer: inPieces(good, time.Hour), edit: hasty(func(l *listLimits) { l.stall = 100 * time.Millisecond }), want: errStalled.Error()},
		{name: "packed nothings", answer: packedNothings, edit: hasty(func(l *listLimits) { l.whole = 500 * time.Millisecond }), want: errTooLong.Error()},
		{name: "a byte at a time", answer: inPieces("a", 5*time.Millisecond), edit: hasty(func(l *listLimits) { l.whole = 300 * time.Millisecond }), want: errTooLong.Error()},
		{name: "says nothing", answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, edit: hasty(func(l *listLimits) { l.header = 100 * time.Millisecond }), want: "timeout awaiting response headers"},
		{name: "a head without end", answer: longHead, want: "server response headers exceeded"},
		{name: "an error page", answer: body("<!doctype html><p>sign in"), want: "begins like a web page"},
		{name: "empty", answer: body(""), want: "the list has nothing that can be matched"},
		{name: "shrunk", answer: body(listOf("bad", 10)), want: "it shrank from 100 entries to 10, which looks like a download that broke off: remove "},
		{name: "more than a tenth of it", answer: body(listOf("bad", 11)), result: fetchFresh},
		{name: "an unasked 304", answer: status(http.StatusNotModified), edit: func(s *policy.ListSource, _ *listLimits) { s.Name = "other" }, want: "the server answered 304 Not Modified"},
		{name: "pinned", answer: body(good), edit: pinned(good), result: fetchFresh},
		{name: "not what is pinned", answer: body(bad), edit: pinned(good), want: "its content is not the one that the policy pins: sha256 is " + sumOf(bad) + ", and " + sumOf(good) + " is wanted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := body(bad)
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
			defer server.Close()
			b := newFetchBench(t, server)
			source := policy.ListSource{Name: "threats", URL: server.URL + "/list.txt"}
			if result, err := b.once(source); err != nil || result != fetchFresh {
				t.Fatal(result, err)
			}
			answer = test.answer
			if test.edit != nil {
				test.edit(&source, &b.limits)
			}
			b.deps.get = newListClient(newListDialer(time.Second).dial, b.roots(server), "v1", b.limits).get
			before := b.copy(source)
			result, err := b.once(source)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %q, %v", result, err)
			}
			switch {
			case err != nil && b.copy(source) != before:
				t.Error("a fetch that failed changed the copy")
			case err == nil && result != test.result:
				t.Errorf("got %s, want %s", result, test.result)
			case result == fetchFresh && b.copy(source) == before:
				t.Error("what was fetched is not the copy")
			}
			if state, _ := b.listFetcher.state(b.deps.store.key(source)); (state.trouble != "") != (err != nil) {
				t.Errorf("the trouble is %q, the error %v", state.trouble, err)
			}
			if left := b.parts(); len(left) > 0 {
				t.Errorf("%v were left lying about", left)
			}
		})
	}
}

func (b *fetchBench) roots(server *httptest.Server) *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return roots
}

func largest(bytes int64) func(*policy.ListSource, *listLimits) {
	return func(s *policy.ListSource, _ *listLimits) { s.MaxSize = bytes }
}

func pinned(text string) func(*policy.ListSource, *listLimits) {
	return func(s *policy.ListSource, _ *listLimits) { s.SHA256 = sumOf(text) }
}

func hasty(edit func(*listLimits)) func(*policy.ListSource, *listLimits) {
	return func(_ *policy.ListSource, l *listLimits) { edit(l) }
}

// redirect sends everything to a place; then answers there.
func redirect(to string, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if then != nil && r.URL.Path == to {
			then(w, r)
			return
		}
		http.Redirect(w, r, to, http.StatusFound)
	}
}

func packed(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(text))
		_ = z.Close()
	}
}

func packedBrokenOff(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(text))
		_ = z.Flush()
	}
}

// packedNothings is gzip members without end, with nothing in any.
func packedNothings(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	for r.Context().Err() == nil {
		z := gzip.NewWriter(w)
		if z.Close() != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
	}
}

// brokenOff promises more than it sends.
func brokenOff(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(text)+1))
		_, _ = w.Write([]byte(text))
	}
}

func longHead(w http.ResponseWriter, _ *http.Request) {
	for i := range 100 {
		w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("a", 2000))
	}
}

// TestConditionalFetch sends back what the server said of its version, and no
// more than it should.
func TestConditionalFetch(t *testing.T) {
	var asked []http.Header
	versions := http.Header{"Etag": {`W/"7"`}, "Last-Modified": {"Fri, 03 Apr 2020 12:00:00 GMT"}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header)
		for name, values := range versions {
			w.Header()[name] = values
		}
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write([]byte("bad.example\n"))
	}))
	defer server.Close()
	b := newFetchBench(t, nil)
	source := policy.ListSource{Name: "threats", URL: server.URL}
	for i, want := range []string{fetchFresh, fetchUnchanged, fetchUnchanged} {
		if result, err := b.once(source); err != nil || result != want {
			t.Fatalf("fetch %d: %s, %v", i, result, err)
		}
	}
	if got := asked[0]; got.Get("If-None-Match") != "" || got.Get("User-Agent") != "sallyport/v1-test" || got.Get("Authorization") != "" {
		t.Errorf("the first request has %v", got)
	}
	if got := asked[2]; got.Get("If-None-Match") != `W/"7"` || got.Get("If-Modified-Since") != "Fri, 03 Apr 2020 12:00:00 GMT" {
		t.Errorf("the third request has %v", got)
	}
	// A version that is too long to be kept is not sent back.
	versions = http.Header{"Etag": {`"` + strings.Repeat("x", maxValidator) + `"`}}
	source.Name = "long"
	for range 2 {
		if _, err := b.once(source); err != nil {
			t.Fatal(err)
		}
	}
	if got := asked[4]; got.Get("If-None-Match") != "" {
		t.Errorf("the request has %v", got)
	}
}

// TestRedirectKeepsTheKey moves a list to another server, which must not learn
// the URL that the policy names.
func TestRedirectKeepsTheKey(t *testing.T) {
	var referer string
	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		referer = r.Referer()
		_, _ = w.Write([]byte("bad.example\n"))
	}))
	defer there.Close()
	here := httptest.NewServer(http.RedirectHandler(there.URL, http.StatusMovedPermanently))
	defer here.Close()
	b := newFetchBench(t, nil)
	if result, err := b.once(policy.ListSource{Name: "threats", URL: here.URL + "?key=secret"}); err != nil || result != fetchFresh {
		t.Fatal(result, err)
	}
	if referer != "" {
		t.Errorf("the other server was told %q", referer)
	}
}

// TestFetchRefusesACertificate of nobody that is known.
func TestFetchRefusesACertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(body("bad.example\n"))
	server.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	server.StartTLS()
	defer server.Close()
	b := newFetchBench(t, nil)
	_, err := b.once(policy.ListSource{Name: "threats", URL: server.URL + "?key=secret"})
	if err == nil || !strings.Contains(err.Error(), "certificate") || fetchResult(err) != fetchNetwork || passes(err) {
		t.Errorf("got %v, which may pass: %v", err, passes(err))
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error has the key: %v", err)
	}
}

// TestFetchNeedsTheStateFolder says what to do where copies cannot be kept.
func TestFetchNeedsTheStateFolder(t *testing.T) {
	server := serveList(t, "bad.example\n")
	b := newFetchBench(t, nil)
	writeFile(t, b.state, "a file in its place")
	_, err := b.once(policy.ListSource{Name: "threats", URL: server.URL})
	if err == nil || fetchResult(err) != fetchDisk || !strings.Contains(err.Error(), `or name another with "state"`) || passes(err) {
		t.Errorf("got %v", err)
	}
	if len(server.requests()) != 0 {
		t.Error("what cannot be kept was fetched")
	}
}

// TestPrefetch waits for lists only as long as something comes.
func TestPrefetch(t *testing.T) {
	var tries int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/soon":
			if tries++; tries == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte("bad.example\n"))
		case "/never":
			w.WriteHeader(http.StatusForbidden)
		default:
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	b := newFetchBench(t, nil)
	b.limits.startQuiet = 3 * time.Second
	client := newListClient(newListDialer(time.Second).dial, nil, "", defaultListLimits())
	b.deps.get = client.get
	at := policy.Position{File: "policy.yaml", Line: 4, Column: 3}
	problems := b.prefetch(t.Context(), []policy.ListSource{
		{Position: at, Name: "soon", URL: server.URL + "/soon"},
		{Position: at, Name: "never", URL: server.URL + "/never"},
		{Position: at, Name: "silent", URL: server.URL + "/silent?key=secret"},
	})
	if len(problems) != 2 || tries != 2 {
		t.Fatalf("%d tries, %v", tries, problems)
	}
	for i, want := range []string{
		`policy.yaml:4:3: list "never" cannot be fetched from ` + server.URL + `/never, and there is no copy of it: the server answered 403 Forbidden: a list`,
		`policy.yaml:4:3: list "silent" cannot be fetched from ` + server.URL + `/silent?..., and there is no copy of it: nothing came for 3s: a list`,
	} {
		if got := problems[i].String(); !strings.HasPrefix(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if b.copy(policy.ListSource{Name: "soon", URL: server.URL + "/soon"}) == "" {
		t.Error("the list that came is not kept")
	}
}
