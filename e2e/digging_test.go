package e2e

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// answer is what dig or kdig printed of a reply, with the TTLs apart: they are
// the only part that may differ from one moment to the next.
type answer struct {
	status    string   // NOERROR, NXDOMAIN...
	ede       string   // number and text of the extended error; empty: none
	answer    []string // "name IN type data", sorted
	authority []string
	ttls      []int // of answer and authority
	tcp       bool  // the client had to come back over TCP
	raw       string
}

var (
	statusLine = regexp.MustCompile(`(?m)^;; ->>HEADER<<- .*status: ([A-Z]+)`)
	edeLine    = regexp.MustCompile(`(?m)^;;? EDE: (\d+) \([^)]*\)(?:: [(']?(.*?)[)']?)?$`)
)

// dig asks a server with the real program. flags come before the name, as in
// "-b 127.9.0.1" or "+tcp".
func dig(t *testing.T, program, server, kind, name string, flags ...string) answer {
	t.Helper()
	path := need(t, program)
	host, port := split(t, server)
	args := []string{"@" + host, "-p", strconv.Itoa(port)}
	args = append(args, flags...)
	args = append(args, "-t", kind, "-q", name, "+noall", "+comments", "+answer", "+authority", "+timeout=5", "+retry=0")
	if program == "kdig" {
		args = append(args, "+header", "+opt") // what dig takes for comments
	}
	r := run(t, t.TempDir(), path, args...)
	if r.code != 0 {
		t.Fatalf("%s %v: exit status %d\n%s%s", program, args, r.code, r.stdout, r.stderr)
	}
	return parseDig(t, r.stdout)
}

func parseDig(t *testing.T, text string) answer {
	t.Helper()
	a := answer{raw: text, tcp: strings.Contains(text, "retrying")}
	status := statusLine.FindAllStringSubmatch(strings.ReplaceAll(text, "; status", " status"), -1)
	if status == nil {
		t.Fatalf("no status in what dig printed:\n%s", text)
	}
	a.status = status[len(status)-1][1]
	if ede := edeLine.FindStringSubmatch(text); ede != nil {
		a.ede = strings.TrimSpace(ede[1] + " " + ede[2])
	}
	section := &a.answer
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, ";; AUTHORITY SECTION"):
			section = &a.authority
		case strings.HasPrefix(line, ";; ANSWER SECTION"):
			section = &a.answer
		case line == "" || line[0] == ';':
		default:
			a.record(t, section, line)
		}
	}
	slices.Sort(a.answer)
	slices.Sort(a.authority)
	return a
}

func (a *answer) record(t *testing.T, section *[]string, line string) {
	t.Helper()
	fields := strings.Fields(line)
	if len(fields) < 4 {
		t.Fatalf("unexpected line from dig: %q", line)
	}
	ttl, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatalf("unexpected line from dig: %q", line)
	}
	a.ttls = append(a.ttls, ttl)
	*section = append(*section, strings.Join(slices.Delete(fields, 1, 2), " "))
}

// addresses are the data of the answer's records of a type.
func (a *answer) data(kind string) []string {
	var data []string
	for _, record := range a.answer {
		fields := strings.SplitN(record, " ", 4)
		if fields[2] == kind {
			data = append(data, fields[3])
		}
	}
	return data
}

// negative says whether the reply can be cached as "nothing here": an SOA in
// the authority section, and no answer (RFC 2308 §5).
func (a *answer) negative() bool {
	return len(a.answer) == 0 && len(a.authority) == 1 && strings.Contains(a.authority[0], " SOA ")
}
