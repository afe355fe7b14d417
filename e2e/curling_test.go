package e2e

import (
	"encoding/json"
	"net/http"
	"net/textproto"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fetched is what curl made of one transfer.
type fetched struct {
	exit    int    // curl's own exit status
	connect int    // status of the proxy's reply to CONNECT; 0 where there was none
	status  int    // status of the last reply
	version string // HTTP version of the last reply
	proxy   http.Header
	head    http.Header // headers of the last reply
	body    string
	stderr  string
}

// through fetches a page by way of the gateway's proxy door.
func (tn town) through(t *testing.T, url string, args ...string) fetched {
	t.Helper()
	return tn.curl(t, append([]string{"-x", "http://" + tn.proxy, url}, args...)...)
}

// direct fetches a page from the origin, as if there were no gateway.
func (tn town) direct(t *testing.T, url string, args ...string) fetched {
	t.Helper()
	return tn.curl(t, append([]string{
		"--resolve", "*:" + strconv.Itoa(tn.origin.http) + ":127.0.0.1", "--resolve", "*:" + strconv.Itoa(tn.origin.https) + ":127.0.0.1", url,
	}, args...)...)
}

func (tn town) curl(t *testing.T, args ...string) fetched {
	t.Helper()
	dir := t.TempDir()
	body, head := filepath.Join(dir, "body"), filepath.Join(dir, "head")
	writeFile(t, body, nil) // curl makes none for an empty reply
	writeFile(t, head, nil)
	r := run(t, dir, need(t, "curl"), append([]string{
		"--silent", "--show-error", "--max-time", "20", "--cacert", tn.origin.authority,
		"--output", body, "--dump-header", head, "--write-out", "%{json}",
	}, args...)...)
	var report struct {
		HTTPCode    int    `json:"http_code"`
		HTTPConnect int    `json:"http_connect"`
		HTTPVersion string `json:"http_version"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("curl %v: exit status %d, report %q: %v\n%s", args, r.code, r.stdout, err, r.stderr)
	}
	f := fetched{
		exit: r.code, connect: report.HTTPConnect, status: report.HTTPCode, version: report.HTTPVersion,
		body: readFile(t, body), stderr: r.stderr,
	}
	f.proxy, f.head = headers(readFile(t, head))
	return f
}

// headers reads the first and the last block of a header dump: where there was
// a CONNECT, the first is the proxy's.
func headers(dump string) (first, last http.Header) {
	blocks := strings.Split(strings.TrimRight(strings.ReplaceAll(dump, "\r\n", "\n"), "\n"), "\n\n")
	return block(blocks[0]), block(blocks[len(blocks)-1])
}

func block(text string) http.Header {
	h := http.Header{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			h.Add(textproto.TrimString(name), textproto.TrimString(value))
		}
	}
	return h
}

// endToEnd are the headers that belong to the origin, sorted: neither the
// clock's nor one connection's.
func (f *fetched) endToEnd() []string {
	var lines []string
	for name, values := range f.head {
		switch name {
		case "Date", "Connection", "Keep-Alive", "Via", "Transfer-Encoding":
			continue
		}
		lines = append(lines, name+": "+strings.Join(values, ", "))
	}
	slices.Sort(lines)
	return lines
}
