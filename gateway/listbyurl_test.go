package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// fetched blocks what a list by URL holds.
func fetched(url string) string {
	return `
version: 1
lists:
  threats: {url: "` + url + `"}
rules:
  - {name: threats, what: {lists: [threats]}, action: block}
default: allow
`
}

// layPolicy writes a policy into a folder of its own.
func layPolicy(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "policy.yaml")
	writeFile(t, path, text)
	return path
}

// startAsking runs a gateway that asks for its lists all the time.
func startAsking(t *testing.T, policyPath string) *running {
	t.Helper()
	return startTuned(t, policyPath, slowPoll, func(g *Gateway) {
		g.lists.limits.usual = 5 * time.Millisecond
		g.lists.limits.first = 5 * time.Millisecond
		g.lists.limits.pause = 0
	})
}

// fetches is how many fetches came out like that.
func (r *running) fetches(result string) int {
	r.t.Helper()
	n, _ := strconv.Atoi(r.metric(`sallyport_list_fetches_total{list="threats",result="` + result + `"}`))
	return n
}

// wantFetches waits for so many fetches with a result.
func (r *running) wantFetches(result string, least int) {
	r.t.Helper()
	eventually(r.t, func() error {
		if got := r.fetches(result); got < least {
			return fmt.Errorf("%d fetches were %s, want %d", got, result, least)
		}
		return nil
	})
}

// TestListByURL has a list fetched before the gateway is ready, and follows it
// through every turn of its life.
func TestListByURL(t *testing.T) {
	server := serveList(t, listOf("bad", 100))
	g := startAsking(t, layPolicy(t, fetched(server.URL+"/list.txt?key=secret")))
	if !g.blockedByDNS("bad7.example") || g.blockedByDNS("odd7.example") {
		t.Fatal("the gateway is ready, and the list does not decide")
	}
	const stale = `sallyport_policy_list_stale{list="threats"}`
	g.wantMetric(`sallyport_list_entries{list="threats"}`, "100")
	g.wantMetric(`sallyport_list_bytes{list="threats"}`, strconv.Itoa(len(listOf("bad", 100))))
	g.wantMetric(stale, "0")

	// The same again is no reload, and is asked for by its version.
	g.wantFetches(fetchUnchanged, 3)
	if n := g.metric(`sallyport_policy_reloads_total{result="unchanged"}`); n != "0" {
		t.Errorf("a list that did not change made %s reloads", n)
	}
	if last := server.requests(); last[len(last)-1].Header.Get("If-None-Match") == "" || !strings.HasPrefix(last[0].UserAgent(), "sallyport/") {
		t.Errorf("the server was asked with %v", last[len(last)-1].Header)
	}

	// Another content is in force by itself, and was read once.
	first, read := g.engine.Program().Revision(), g.lists.deps.parser.done.Load()
	server.set(listOf("odd", 90))
	g.wantNewRevision(first)
	if g.blockedByDNS("bad7.example") || !g.blockedByDNS("odd7.example") {
		t.Error("the new list does not decide")
	}
	if got := g.lists.deps.parser.done.Load() - read; got != 1 {
		t.Errorf("the new list was read %d times", got)
	}
	if n := g.metric(enforced); n != "0" {
		t.Errorf("a fetch was measured as an edit: %s", n)
	}

	// Whatever goes wrong, the last good copy decides, and that is said.
	second := g.engine.Program().Revision()
	for _, test := range []struct {
		result, want string
		spoil        func()
	}{
		{fetchStatus, "the server answered 404 Not Found", func() { server.answer(status(http.StatusNotFound)) }},
		{fetchShrunk, "shrank from 90 entries to 8", func() { server.set(listOf("odd", 8)) }},
		{fetchFormat, "begins like a web page", func() { server.set("<html>sign in</html>") }},
	} {
		test.spoil()
		g.wantFetches(test.result, 2)
		g.wantMetric(stale, "1")
		if status, body := g.get("/readyz"); status != http.StatusOK || !strings.Contains(body, `list "threats": `) ||
			!strings.Contains(body, test.want) || !strings.HasSuffix(body, "; its last good copy keeps deciding\n") {
			t.Errorf("%s: readyz: %d %s", test.result, status, body)
		}
		if _, body := g.get("/api/v1/policy"); !strings.Contains(body, `"trouble": "`) || strings.Contains(body, "secret") {
			t.Errorf("%s: the report has no trouble, or the key: %s", test.result, body)
		}
		if now := g.engine.Program().Revision(); now != second || !g.blockedByDNS("odd7.example") {
			t.Errorf("%s: the ban is lifted", test.result)
		}
	}
	server.set(listOf("odd", 91))
	g.wantMetric(stale, "0")
	g.wantNewRevision(second)
	if _, body := g.get("/readyz"); body != "ready\n" {
		t.Errorf("all is well again, and readyz says %s", body)
	}
	for _, entry := range g.log.All() {
		if strings.Contains(fmt.Sprint(entry.Message, entry.ContextMap()), "secret") {
			t.Errorf("the log has the key of the url: %s %v", entry.Message, entry.ContextMap())
		}
	}
}

// TestShrunkListTakenOnPurpose removes the copy, as the message advises.
func TestShrunkListTakenOnPurpose(t *testing.T) {
	server := serveList(t, listOf("bad", 100))
	g := startAsking(t, layPolicy(t, fetched(server.URL)))
	server.set(listOf("bad", 3))
	g.wantFetches(fetchShrunk, 1)
	records, err := filepath.Glob(filepath.Join(filepath.Dir(g.policy), "state", "lists", "threats-*.json"))
	if err != nil || len(records) != 1 {
		t.Fatal(records, err)
	}
	if err := os.Remove(records[0]); err != nil {
		t.Fatal(err)
	}
	if !g.blockedByDNS("bad50.example") {
		t.Error("a copy that was removed lifted the ban at once")
	}
	if status, body := g.http("POST", "/-/reload"); status != http.StatusOK {
		t.Errorf("reload: %d %s", status, body)
	}
	g.wantMetric(`sallyport_list_entries{list="threats"}`, "3")
}

// TestRestartWithoutTheServer starts again from disk.
func TestRestartWithoutTheServer(t *testing.T) {
	server := serveList(t, listOf("bad", 100))
	path := layPolicy(t, fetched(server.URL))
	g := startWith(t, path, slowPoll)
	revision := g.engine.Program().Revision()
	if err := g.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Close()
	again := startTuned(t, path, slowPoll, func(g *Gateway) { g.lists.limits.fresh = 0 })
	if now := again.engine.Program().Revision(); now != revision || !again.blockedByDNS("bad7.example") {
		t.Errorf("revision %s was %s before, or decides otherwise", now, revision)
	}
	again.wantFetches(fetchNetwork, 1)
	again.wantMetric(`sallyport_policy_list_stale{list="threats"}`, "1")
	state := filepath.Join(filepath.Dir(path), "state")
	if info, err := os.Stat(state); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the state folder: %v, %v", info.Mode(), err)
	}
}

// TestStartAsksForTheNewest uses the copy at once and asks for a newer one, but
// does not ask each time where a gateway starts again and again.
func TestStartAsksForTheNewest(t *testing.T) {
	server := serveList(t, listOf("bad", 100))
	path := layPolicy(t, fetched(server.URL))
	startWith(t, path, slowPoll)
	server.set(listOf("odd", 100))
	quick := startWith(t, path, slowPoll)
	if !quick.blockedByDNS("bad7.example") || len(server.requests()) != 1 {
		t.Errorf("a copy of this minute was asked after: %d requests", len(server.requests()))
	}
	first := quick.engine.Program().Revision()
	later := startTuned(t, path, slowPoll, func(g *Gateway) { g.lists.limits.fresh = 0 })
	later.wantNewRevision(first)
	if !later.blockedByDNS("odd7.example") {
		t.Error("the newest list does not decide")
	}
}

// TestNoStartWithoutTheList fails closed.
func TestNoStartWithoutTheList(t *testing.T) {
	server := serveList(t, "")
	dead := serveList(t, "")
	dead.Close()
	gone := make(chan struct{})
	close(gone)
	for _, test := range []struct {
		name   string
		server *listServer
		answer http.HandlerFunc
		want   string
	}{
		{"not found", server, status(http.StatusNotFound), "the server answered 404 Not Found"},
		{"an error page", server, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "begins like a web page"},
		{"given up", dead, nil, "the start was given up"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.server.answer(test.answer)
			path := layPolicy(t, fetched(test.server.URL))
			deps := Dependencies{}
			if test.answer == nil {
				deps.Interrupt = gone
			}
			_, err := New(testConfig(t, path), deps)
			var bad *PolicyError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), test.want) ||
				!strings.Contains(err.Error(), `policy.yaml:4:3: list "threats" cannot be fetched from http://127.0.0.1`) ||
				!strings.Contains(err.Error(), "must not be taken for an empty one") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestEditNamesANewList puts an edit in force when its list is there, and not
// before.
func TestEditNamesANewList(t *testing.T) {
	server := serveList(t, listOf("bad", 100))
	let := make(chan struct{})
	server.answer(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-let:
			_, _ = w.Write([]byte(listOf("bad", 100)))
		case <-r.Context().Done():
		}
	})
	g := start(t, memo, slowPoll)
	first := g.engine.Program().Revision()
	writeFile(t, g.policy, fetched(server.URL))
	g.wantMetric(successful, "0")
	eventually(t, func() error {
		if len(server.requests()) == 0 {
			return errors.New("nobody asks for the list")
		}
		return nil
	})
	if now := g.engine.Program().Revision(); now != first || !g.blockedByDNS("zoom.us") {
		t.Error("the old policy does not decide any more")
	}
	if status, body := g.get("/readyz"); status != http.StatusOK || !strings.Contains(body, "revision "+first+" keeps deciding") ||
		!strings.Contains(body, `list "threats" is being fetched from http://127.0.0.1`) ||
		!strings.Contains(body, "the policy is put in force when it is there") {
		t.Errorf("readyz: %d %s", status, body)
	}
	if n := g.log.FilterMessageSnippet("policy waits for its lists").Len(); n != 1 {
		t.Errorf("the log says %d times that the policy waits", n)
	}
	close(let)
	g.wantNewRevision(first)
	g.wantMetric(successful, "1")
	if g.blockedByDNS("zoom.us") || !g.blockedByDNS("bad7.example") {
		t.Error("the new policy does not decide")
	}
	if _, body := g.get("/readyz"); body != "ready\n" {
		t.Errorf("readyz: %s", body)
	}
}

// TestEditTakenBack forgets a list that never came.
func TestEditTakenBack(t *testing.T) {
	server := serveList(t, "")
	server.answer(status(http.StatusGone))
	g := start(t, memo, slowPoll)
	writeFile(t, g.policy, fetched(server.URL))
	g.wantFetches(fetchStatus, 1)
	if _, body := g.get("/readyz"); !strings.Contains(body, `list "threats" could not be fetched yet: the server answered 410 Gone; it is tried again at 2`) {
		t.Errorf("readyz: %s", body)
	}
	writeFile(t, g.policy, memo)
	g.wantMetric(successful, "1")
	eventually(t, func() error {
		if _, body := g.get("/metrics"); strings.Contains(body, `list="threats"`) {
			return errors.New("a list that nothing names is still counted")
		}
		return nil
	})
	if _, body := g.get("/readyz"); body != "ready\n" {
		t.Errorf("readyz: %s", body)
	}
}

// TestEditReadsNoList edits rules beside a big list by URL and a file, and
// counts how often either is read.
func TestEditReadsNoList(t *testing.T) {
	server := serveList(t, listOf("bad", 1000))
	path := layPolicy(t, "")
	writeFile(t, filepath.Join(filepath.Dir(path), "own.txt"), listOf("own", 1000))
	text := strings.Replace(fetched(server.URL), "rules:", "  own: {file: own.txt}\nrules:\n  - {name: own, what: {lists: [own]}, action: block}", 1)
	writeFile(t, path, text)
	g := startWith(t, path, slowPoll)
	if got := g.lists.deps.parser.done.Load(); got != 2 {
		t.Errorf("two lists were read %d times", got)
	}
	for i := range 5 {
		before := g.engine.Program().Revision()
		writeFile(t, path, text+fmt.Sprintf("# edit %d\n", i))
		g.wantNewRevision(before)
	}
	if got := g.lists.deps.parser.done.Load(); got != 2 {
		t.Errorf("edits that touch no list read %d", got-2)
	}
	if got := len(server.requests()); got != 1 {
		t.Errorf("edits that touch no list asked the server %d times", got-1)
	}
}

// TestDamagedCopy is fetched again when the gateway starts, although its record
// knows the server's version.
func TestDamagedCopy(t *testing.T) {
	server := serveList(t, listOf("bad", 100))
	path := layPolicy(t, fetched(server.URL))
	g := startWith(t, path, slowPoll)
	data, err := filepath.Glob(filepath.Join(filepath.Dir(path), "state", "lists", "*.list"))
	if err != nil || len(data) != 1 {
		t.Fatal(data, err)
	}
	if err := g.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	writeFile(t, data[0], listOf("odd", 100)) // as long as before
	again := startWith(t, path, slowPoll)
	if !again.blockedByDNS("bad7.example") || again.blockedByDNS("odd7.example") {
		t.Error("a damaged copy decides")
	}
	if text, err := os.ReadFile(data[0]); err != nil || string(text) != listOf("bad", 100) {
		t.Errorf("the copy is still damaged: %v", err)
	}
}

// TestOffline reads a policy without a gateway: what check, test and explain
// say of a list that was fetched, and of one that was not.
func TestOffline(t *testing.T) {
	server := serveList(t, listOf("bad", 100))
	path := layPolicy(t, fetched(server.URL)+"tests: [{who: {ip: 127.0.0.1}, what: bad7.example, want: block}]\n")
	config := testConfig(t, path)
	now := time.Now()

	absent := LoadPolicy(path, now)
	if absent.OK() || !absent.Problems.HasErrors() || !strings.Contains(absent.Problems.Err().Error(), `policy.yaml:4:3: list "threats" has not been fetched: there is no copy of it in `) {
		t.Errorf("without a copy no verdict can be told: %v", absent.All())
	}
	absent = config.LoadPolicy(now)
	if absent.Problems.HasErrors() || len(absent.All()) != 1 || absent.All()[0].Severity != policy.SeverityWarning || absent.Program != nil {
		t.Errorf("a gateway that starts fetches it, so that nothing is wrong: %v", absent.All())
	}
	if len(server.requests()) != 0 {
		t.Error("a look at the policy asked the server")
	}
	g := startWith(t, path, slowPoll)
	for _, loaded := range []*Loaded{LoadPolicy(path, now), config.LoadPolicy(now)} {
		if !loaded.OK() || loaded.Program.Revision() != g.engine.Program().Revision() || loaded.Lists[0].Entries != 100 {
			t.Errorf("with the gateway's copy: %v", loaded.All())
		}
	}
}

// TestShutdownDuringAFetch ends downloads that are under way.
func TestShutdownDuringAFetch(t *testing.T) {
	server := serveList(t, "")
	server.answer(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("bad.example\n"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	g := start(t, memo, slowPoll)
	writeFile(t, g.policy, fetched(server.URL))
	eventually(t, func() error {
		if g.lists.moved.Load() == 0 {
			return errors.New("nothing came")
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(filepath.Join(filepath.Dir(g.policy), "state", "lists"))
	if err != nil || len(left) != 0 {
		t.Errorf("a download that broke off leaves %v, %v", left, err)
	}
}

// TestListFailsThePolicysTests refuses a list that blocks what must stay open,
// and can be started again with the last good one.
func TestListFailsThePolicysTests(t *testing.T) {
	server := serveList(t, listOf("bad", 100))
	text := fetched(server.URL) + "tests: [{who: {ip: 127.0.0.1}, what: corp.example, want: allow}]\n"
	g := startAsking(t, layPolicy(t, text))
	first := g.engine.Program().Revision()
	server.set(listOf("bad", 101) + "corp.example\n")
	g.wantFetches(fetchTests, 1)
	if _, body := g.get("/readyz"); !strings.Contains(body, `list "threats": with it the policy fails its own test at `) {
		t.Errorf("readyz: %s", body)
	}
	if now := g.engine.Program().Revision(); now != first || !g.blockedByDNS("bad7.example") || g.blockedByDNS("corp.example") {
		t.Error("the list in force does not decide any more")
	}
	if again := startWith(t, g.policy, slowPoll); again.engine.Program().Revision() != first {
		t.Error("another start has another list")
	}
	// An edit is not held up by what was refused; one that wants the name
	// blocked takes the list.
	writeFile(t, g.policy, text+"# a word more\n")
	g.wantNewRevision(first)
	second := g.engine.Program().Revision()
	writeFile(t, g.policy, fetched(server.URL))
	g.wantNewRevision(second)
	g.wantMetric(`sallyport_list_entries{list="threats"}`, "102")
}
