package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAccessLogs sends the same requests through the gateway and through Squid,
// and holds what the two write about each against each other. Then log
// analysers read what the gateway wrote.
func TestAccessLogs(t *testing.T) {
	sallyport(t)
	squid := startLoggingSquid(t)
	g := startLogging(t)
	site, silent := startLoggedOrigin(t)
	for _, a := range askings(site, freePort(t), silent) {
		t.Run(a.name, func(t *testing.T) { a.compare(t, g, squid) })
	}
	t.Run("hostile", func(t *testing.T) { hostileHeaders(t, g, site) })
	t.Run("kept query", func(t *testing.T) { keptQuery(t, g, site) })
	t.Run("goaccess", func(t *testing.T) { readByGoAccess(t, g) })
	t.Run("calamaris", func(t *testing.T) { readByCalamaris(t, g) })
	t.Run("rotation", func(t *testing.T) { rotateAccessLogs(t, g, site) })
}

// logging is a proxy that writes access logs in both formats.
type logging struct {
	*child
	dir, proxy string
}

func startLogging(t *testing.T) *logging {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(readFile(t, "testdata/accesslog-policy.yaml")))
	writeFile(t, filepath.Join(dir, "users.htpasswd"), []byte(htpasswd(t, "priya@corp.example", "orbit")))
	config := render(t, dir, "accesslog.yaml", map[string]any{"Unused": freePort(t)})
	g := &gateway{dir: dir, child: spawn(t, dir, sallyport(t), "serve", "--config", config)}
	g.waitReady(t)
	return &logging{child: g.child, dir: dir, proxy: g.proxy}
}

func startLoggingSquid(t *testing.T) *logging {
	t.Helper()
	c, dir, port := startSquid(t)
	s := &logging{child: c, dir: dir, proxy: loopback(port)}
	s.lines(t, "access.log", 1) // of whoever looked whether it listens
	return s
}

// lines waits until a log has so many lines at least, and gives them all.
func (l *logging) lines(t *testing.T, name string, least int) []string {
	t.Helper()
	var lines []string
	eventually(t, fmt.Sprintf("%s has %d lines", name, least), func() error {
		data, err := os.ReadFile(filepath.Join(l.dir, name))
		if err != nil {
			return err
		}
		lines = slices.Collect(strings.Lines(string(data)))
		if len(lines) < least || !strings.HasSuffix(lines[len(lines)-1], "\n") {
			return fmt.Errorf("%d lines:\n%s", len(lines), data)
		}
		return nil
	})
	return lines
}

// count is how many lines a log has now.
func (l *logging) count(t *testing.T, name string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(l.dir, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(data), "\n")
}

// startLoggedOrigin is a site with answers of many kinds, and with none: silent
// tells when somebody asks for that.
func startLoggedOrigin(t *testing.T) (site string, silent <-chan struct{}) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<p>Launch calendar")
	})
	mux.HandleFunc("/missing", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusNotFound) })
	mux.HandleFunc("/unchanged", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	mux.HandleFunc("/untyped", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "abc")
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "}")
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", "1000000000")
		_, _ = w.Write(make([]byte, 64<<10))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	asked := make(chan struct{}, 1)
	mux.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	_, port := split(t, server.Listener.Addr().String())
	return fmt.Sprint("www.rockets.example:", port), asked
}

// A line of Squid's native format, by field.
const (
	fieldTime = iota
	fieldElapsed
	fieldClient
	fieldResult
	fieldBytes
	fieldMethod
	fieldURL
	fieldUser
	fieldServer
	fieldType
)

var fieldNames = [...]string{"time", "elapsed", "client", "result", "bytes", "method", "URL", "user", "server", "type"}

// asked is one request that both proxies get.
type asked struct {
	name  string
	curl  []string        // arguments, the URL among them
	raw   string          // instead: what a client writes, that then waits for
	until string          // this in the answer,
	after <-chan struct{} // or this, and leaves
	but   []int           // fields in which the two are not alike, by design
	want  string          // result of the gateway
	bytes bool            // all bytes are the origin's, and the two counts the same
}

func askings(site string, unused int, silent <-chan struct{}) []asked {
	page := func(path string) string { return "http://" + site + path }
	dead := fmt.Sprint("http://127.0.0.1:", unused, "/")
	tunnel := func(args ...string) []string { return append([]string{"--proxytunnel"}, args...) }
	html := []string{"--header", "Accept: text/html", "--proxy-header", "Accept: text/html"}
	get := func(path string) string { return "GET " + page(path) + " HTTP/1.1\r\nHost: " + site + "\r\n\r\n" }
	return []asked{
		{name: "page", curl: []string{page("/"), "--referer", "http://a.example/b"}, want: "TCP_MISS/200"},
		{name: "query", curl: []string{page("/?a=b&c=d")}, want: "TCP_MISS/200"},
		{name: "credentials in the URL", curl: []string{"http://me:secret@" + site + "/"}, want: "TCP_MISS/200"},
		{name: "capitals", curl: []string{strings.Replace(page("/A"), "www.rockets", "WWW.Rockets", 1)}, want: "TCP_MISS/200"},
		{name: "odd path", curl: []string{page("/a%20b/c|d^e'f%0d%0ag"), "--globoff"}, want: "TCP_MISS/200"},
		{name: "head", curl: []string{page("/"), "--head"}, want: "TCP_MISS/200"},
		{name: "upload", curl: []string{page("/"), "--data", "abc=def"}, want: "TCP_MISS/200"},
		{name: "other method", curl: []string{page("/"), "--request", "DELETE"}, want: "TCP_MISS/200"},
		{name: "missing", curl: []string{page("/missing")}, want: "TCP_MISS/404"},
		{name: "unchanged", curl: []string{page("/unchanged")}, want: "TCP_MISS/304"},
		{name: "untyped", curl: []string{page("/untyped")}, want: "TCP_MISS/200"},
		{name: "stream", curl: []string{page("/stream")}, want: "TCP_MISS/200"},
		{name: "HTTP/1.0", curl: []string{page("/"), "--http1.0"}, want: "TCP_MISS/200"},
		{name: "web socket", curl: []string{page("/socket"), "--header", "Connection: Upgrade", "--header", "Upgrade: websocket",
			"--header", "Sec-WebSocket-Version: 13", "--header", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, want: "TCP_TUNNEL/101"},
		{name: "left in the middle", raw: get("/endless"), until: "\x00", want: "TCP_MISS_ABORTED/200"},
		{name: "left before", raw: get("/silent"), after: silent, bytes: true, want: "TCP_MISS_ABORTED/000"},
		// Squid calls what nobody listens to 503, we 502; our page is plain text.
		{name: "dead", curl: []string{dead}, but: []int{fieldResult, fieldType}, want: "TCP_MISS/502"},
		{name: "no such name", curl: []string{"http://nosuch.invalid/"}, but: []int{fieldType}, want: "TCP_MISS/502"},
		{name: "banned", curl: append(html, "http://banned.rockets.example/"), want: "TCP_DENIED/403"},
		{name: "who are you", curl: []string{"http://desk.rockets.example/"}, but: []int{fieldType}, want: "TCP_DENIED/407"},
		{name: "signed in", curl: []string{strings.Replace(page("/"), "www", "desk", 1), "--proxy-user", "priya@corp.example:orbit"}, want: "TCP_MISS/200"},
		{name: "no proxy request", raw: "GET /here?x HTTP/1.1\r\nHost: a\r\n\r\n", until: "400", but: []int{fieldType}, want: "NONE_NONE/400"},
		{name: "garbage", raw: "GARBAGE\r\n\r\n", until: "400", but: []int{fieldMethod, fieldType}, want: "NONE_NONE/400"},
		{name: "tunnel", curl: tunnel(page("/")), want: "TCP_TUNNEL/200", bytes: true},
		{name: "tunnel, signed in", curl: tunnel(strings.Replace(page("/"), "www", "desk", 1), "--proxy-user", "priya@corp.example:orbit"), want: "TCP_TUNNEL/200", bytes: true},
		{name: "tunnel banned", curl: tunnel(append(html, "http://banned.rockets.example:443/")...), want: "TCP_DENIED/403"},
		{name: "tunnel, who are you", curl: tunnel("http://desk.rockets.example:443/"), but: []int{fieldType}, want: "TCP_DENIED/407"},
		{name: "tunnel to the dead", curl: tunnel(dead), but: []int{fieldResult, fieldType}, want: "NONE_NONE/502"},
		{name: "tunnel to the dead, IPv6", curl: tunnel(fmt.Sprint("http://[::1]:", unused, "/")), but: []int{fieldResult, fieldType}, want: "NONE_NONE/502"},
		{name: "tunnel to no such name", curl: tunnel("http://nosuch.invalid:443/"), but: []int{fieldResult, fieldType}, want: "NONE_NONE/502"},
	}
}

// compare sends the request through both and compares the two lines in each of
// the two formats.
func (a *asked) compare(t *testing.T, g, squid *logging) {
	ours, theirs := a.send(t, g), a.send(t, squid)
	our, their := strings.Fields(ours[0]), strings.Fields(theirs[0])
	if len(our) != len(fieldNames) || len(their) != len(fieldNames) {
		t.Fatalf("not ten fields:\n%s%s", ours[0], theirs[0])
	}
	for f := fieldClient; f <= fieldType; f++ {
		if our[f] == their[f] || f == fieldBytes && !a.bytes || slices.Contains(a.but, f) {
			continue
		}
		t.Errorf("%s differs: ours and Squid's\n%s%s", fieldNames[f], ours[0], theirs[0])
	}
	if our[fieldResult] != a.want {
		t.Errorf("result %s, want %s:\n%s", our[fieldResult], a.want, ours[0])
	}
	if len(ours[0])-len(strings.TrimLeft(ours[0], " ")) != len(theirs[0])-len(strings.TrimLeft(theirs[0], " ")) ||
		strings.Index(ours[0], "127.0.0.1") != strings.Index(theirs[0], "127.0.0.1") {
		t.Errorf("columns differ:\n%s%s", ours[0], theirs[0])
	}
	a.compareCombined(t, ours[1], theirs[1])
}

// combinedLine is a line of the combined format; what Squid adds is left out.
var combinedLine = regexp.MustCompile(`^(\S+ - \S+) \[([^]]+)\] "([^"]*)" (\d+) (\d+|-) ("[^"]*" "[^"]*")( \S+:\S+)?\n$`)

func (a *asked) compareCombined(t *testing.T, ours, theirs string) {
	t.Helper()
	our, their := combinedLine.FindStringSubmatch(ours), combinedLine.FindStringSubmatch(theirs)
	if our == nil || their == nil {
		t.Fatalf("not in the combined format:\n%s%s", ours, theirs)
	}
	differs := our[1] != their[1] || our[6] != their[6] ||
		our[3] != their[3] && !slices.Contains(a.but, fieldMethod) ||
		our[4] != their[4] && !slices.Contains(a.but, fieldResult)
	if their[4] == "0" { // where an analyser wants a status
		differs = our[4] != "499"
	}
	if differs {
		t.Errorf("combined lines differ: ours and Squid's\n%s%s", ours, theirs)
	}
	if our[7] != "" {
		t.Errorf("more than Apache writes: %s", ours)
	}
	if at, err := time.Parse("02/Jan/2006:15:04:05 -0700", our[2]); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("time %q: %v", our[2], err)
	}
}

// send makes the request, and gives the line of each format that it left.
func (a *asked) send(t *testing.T, l *logging) [2]string {
	t.Helper()
	names := [2]string{"access.log", "combined.log"}
	before := [2]int{l.count(t, names[0]), l.count(t, names[1])}
	if a.raw != "" {
		a.sendRaw(t, l)
	} else {
		dir := t.TempDir()
		run(t, dir, need(t, "curl"), append([]string{"--silent", "--max-time", "20", "--output", "body", "--proxy", "http://" + l.proxy}, a.curl...)...)
	}
	var left [2]string
	for i, name := range names {
		lines := l.lines(t, name, before[i]+1)[before[i]:]
		if len(lines) != 1 {
			t.Fatalf("%d lines of one request in %s:\n%s", len(lines), name, strings.Join(lines, ""))
		}
		left[i] = lines[0]
	}
	return left
}

// sendRaw writes the request, reads until what it waits for has come, and
// leaves.
func (a *asked) sendRaw(t *testing.T, l *logging) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", l.proxy, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, a.raw); err != nil {
		t.Fatal(err)
	}
	if a.after != nil {
		select {
		case <-a.after:
		case <-time.After(patience):
			t.Fatal("the origin is not asked")
		}
		return
	}
	var got strings.Builder
	for piece := make([]byte, 4096); !strings.Contains(got.String(), a.until); {
		n, err := conn.Read(piece)
		got.Write(piece[:n])
		if err != nil {
			t.Fatalf("%v behind %q", err, got.String())
		}
	}
}

// hostileHeaders sends what would be more than one field, and looks at the line.
func hostileHeaders(t *testing.T, g *logging, site string) {
	a := asked{curl: []string{"http://" + site + "/\"x\\y", "--globoff", "--user-agent", "a\" 200 \"b\\\tc\xe9", "--referer", `"-" \"`}}
	left := a.send(t, g)
	if !strings.Contains(left[0], " http://"+site+`/"x\y - HIER_DIRECT/`) {
		t.Errorf("native line %q", left[0])
	}
	want := `"GET http://` + site + `/\"x\\y HTTP/1.1" 200 18 "\"-\" \\\"" "a\" 200 \"b\\\tc\xe9"` + "\n"
	if !strings.HasSuffix(left[1], want) {
		t.Errorf("combined line\n%swant at its end\n%s", left[1], want)
	}
}

// keptQuery looks at the log that keeps what others strip.
func keptQuery(t *testing.T, g *logging, site string) {
	before := g.count(t, "whole.log")
	a := asked{curl: []string{"http://" + site + "/?token=secret"}}
	left := a.send(t, g)
	if strings.Contains(left[0]+left[1], "secret") {
		t.Errorf("a query was written:\n%s%s", left[0], left[1])
	}
	if line := g.lines(t, "whole.log", before+1)[before]; !strings.Contains(line, `"GET http://`+site+"/?token=secret HTTP/1.1\"") {
		t.Errorf("the query is missing: %s", line)
	}
}

// readByGoAccess has GoAccess count what it can read.
func readByGoAccess(t *testing.T, g *logging) {
	path := need(t, "goaccess")
	for name, args := range map[string][]string{
		"access.log":   {"--log-format=%x.%^ %~%L %h %^/%s %b %m %U", "--date-format=%s", "--time-format=%s"},
		"combined.log": {"--log-format=COMBINED"},
		"whole.log":    {"--log-format=COMBINED"},
	} {
		report := filepath.Join(t.TempDir(), "report.json")
		r := run(t, g.dir, path, append(args, name, "--no-global-config", "--no-progress", "--output", report)...)
		if r.code != 0 {
			t.Errorf("%s: goaccess says %d: %s", name, r.code, r.stderr)
			continue
		}
		var read struct {
			General struct {
				Total int `json:"total_requests"`
				Valid int `json:"valid_requests"`
			}
		}
		if err := json.Unmarshal([]byte(readFile(t, report)), &read); err != nil {
			t.Fatal(err)
		}
		// It takes no line without a status, as which it takes 000, or without
		// a method; nor does it where Squid has written it.
		want, lines := 0, g.lines(t, name, 1)
		for _, line := range lines {
			if name != "access.log" || !strings.Contains(line, "/000 ") && !strings.Contains(line, " - error:") {
				want++
			}
		}
		if read.General.Total != len(lines) || read.General.Valid != want {
			t.Errorf("%s: %d lines, of which goaccess has seen %d and could read %d, want %d", name, len(lines), read.General.Total, read.General.Valid, want)
		}
	}
}

// readByCalamaris has Calamaris count what it can read of Squid's format.
func readByCalamaris(t *testing.T, g *logging) {
	r := run(t, g.dir, "/bin/sh", "-c", need(t, "calamaris")+" --all-useful-reports < access.log")
	value := func(what string) string {
		m := regexp.MustCompile(what + `:\s+lines\s+(\d+)`).FindStringSubmatch(r.stdout)
		if m == nil {
			t.Fatalf("calamaris says %d, and nothing of %s:\n%s%s", r.code, what, r.stdout, r.stderr)
		}
		return m[1]
	}
	if read, bad, want := value("lines parsed"), value("invalid lines"), fmt.Sprint(g.count(t, "access.log")); read != want || bad != "0" {
		t.Errorf("%s lines, of which calamaris has parsed %s and calls %s invalid", want, read, bad)
	}
}

// rotateAccessLogs moves a log away under the running gateway.
func rotateAccessLogs(t *testing.T, g *logging, site string) {
	path := filepath.Join(g.dir, "access.log")
	before := g.count(t, "access.log")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	g.signal(t, syscall.SIGHUP)
	eventually(t, "there is a new access log", func() error { _, err := os.Stat(path); return err })
	a := asked{curl: []string{"http://" + site + "/"}}
	a.send(t, g)
	if got := g.count(t, "access.log.1"); got != before {
		t.Errorf("the log that was moved away has %d lines, and had %d", got, before)
	}
}
