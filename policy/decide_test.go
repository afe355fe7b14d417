package policy_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/policy/catalogue"
)

// TestDecide runs testdata/decide/*.txtar. Each archive holds a policy
// (policy.yaml, further *.yaml files, lists/*) and a file `cases` of lines
//
//	key=value ... => verdict
//
// with the keys ip, user, group, directory, device, door, at, port, udp, host,
// derived, claimed (the last two comma separated). A line without a door is
// asked at both. The verdict is the action, then any of by, app, group, fact,
// would, edge, needs-user to be compared.
func TestDecide(t *testing.T) {
	files, err := filepath.Glob("testdata/decide/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			program, cases := compileArchive(t, archive)
			if len(cases) == 0 {
				t.Fatal("the archive has no cases")
			}
			for _, c := range cases {
				c.run(t, program)
			}
		})
	}
}

func compileArchive(t *testing.T, archive *txtar.Archive) (*policy.Program, []decideCase) {
	t.Helper()
	var files []policy.File
	var cases []decideCase
	data := map[string][]byte{}
	for _, f := range archive.Files {
		switch {
		case f.Name == "cases":
			cases = parseCases(t, string(f.Data))
		case strings.HasSuffix(f.Name, ".yaml"):
			files = append(files, policy.File{Name: f.Name, Data: f.Data})
		default:
			data[f.Name] = f.Data
		}
	}
	return compileFiles(t, files, data), cases
}

func compileFiles(t testing.TB, files []policy.File, data map[string][]byte) *policy.Program {
	t.Helper()
	doc, problems := policy.Parse(files)
	if problems.HasErrors() {
		t.Fatalf("parse: %v", problems)
	}
	lists := map[string]*policy.List{}
	for _, source := range doc.Lists {
		list, _, err := policy.ParseList(data[source.File])
		if err != nil {
			t.Fatalf("list %s: %v", source.Name, err)
		}
		lists[source.Name] = list
	}
	program, problems := policy.Compile(doc, policy.Sources{Catalogue: catalogueApps(t), Lists: lists, Revision: "test"})
	if problems.HasErrors() {
		t.Fatalf("compile: %v", problems)
	}
	return program
}

// parsedCatalogue is parsed once: some tests compile hundreds of policies.
var parsedCatalogue = sync.OnceValues(catalogue.Apps)

func catalogueApps(t testing.TB) []policy.App {
	t.Helper()
	apps, err := parsedCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	return apps
}

// decideCase is one line of a cases file.
type decideCase struct {
	line  string
	doors []policy.Door
	req   policy.Request
	id    policy.Identity
	want  map[string]string
}

func parseCases(t *testing.T, text string) []decideCase {
	t.Helper()
	var cases []decideCase
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		left, right, ok := strings.Cut(line, "=>")
		if !ok {
			t.Fatalf("cases line %d has no =>", n+1)
		}
		c := decideCase{line: line, doors: policy.Doors(), want: map[string]string{}}
		c.req.At = time.Date(2020, 3, 28, 12, 0, 0, 0, time.UTC)
		for _, field := range strings.Fields(left) {
			key, value, _ := strings.Cut(field, "=")
			if err := c.set(key, value); err != nil {
				t.Fatalf("cases line %d: %v", n+1, err)
			}
		}
		for i, field := range strings.Fields(right) {
			key, value, _ := strings.Cut(field, "=")
			if i == 0 {
				key, value = "action", field
			}
			c.want[key] = value
		}
		cases = append(cases, c)
	}
	return cases
}

func (c *decideCase) set(key, value string) (err error) {
	switch key {
	case "ip":
		c.id.Addr, err = netip.ParseAddr(value)
	case "user":
		c.id.User = value
	case "group":
		c.id.Groups = strings.Split(value, ",")
	case "directory":
		c.id.Directory = strings.Split(value, "|")
	case "device":
		c.id.Devices = strings.Split(value, ",")
	case "door":
		var door policy.Door
		door, err = policy.ParseDoor(value)
		c.doors = []policy.Door{door}
	case "at":
		c.req.At, err = time.Parse(time.RFC3339, value)
	case "udp":
		c.req.Protocol = policy.ProtocolUDP
	case "port":
		var port int
		port, err = strconv.Atoi(value)
		c.req.Port = uint16(port)
	case "host":
		c.req.Host, err = policy.ParseHost(value)
	case "derived":
		c.req.Derived, err = parseHosts(value)
	case "claimed":
		c.req.Claimed, err = parseHosts(value)
	default:
		err = fmt.Errorf("unknown key %q", key)
	}
	return err
}

func parseHosts(text string) ([]policy.Host, error) {
	var hosts []policy.Host
	for _, s := range strings.Split(text, ",") {
		h, err := policy.ParseHost(s)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

func (c *decideCase) run(t *testing.T, program *policy.Program) {
	t.Helper()
	for _, door := range c.doors {
		req := c.req
		req.Door = door
		req.Subject = program.Subject(c.id)
		verdict := program.Decide(&req)
		got := describe(&verdict)
		for key, want := range c.want {
			if got[key] != want {
				t.Errorf("%s\n  at the %s door %s is %q, want %q", c.line, door, key, got[key], want)
			}
		}
		explained := program.Explain(&req)
		if explained.Rule != verdict.RuleName() || explained.Action != verdict.Action.String() || explained.Fact != verdict.Fact.String() {
			t.Errorf("%s\n  explain says %s by %s, decide says %s by %s", c.line, explained.Action, explained.Rule, verdict.Action, verdict.RuleName())
		}
		checkTrace(t, c.line, &explained)
	}
}

// checkTrace: the last step is the rule that decided, it matched, and every
// other step that matched only monitors.
func checkTrace(t *testing.T, line string, x *policy.Explanation) {
	t.Helper()
	if len(x.Trace) == 0 {
		t.Errorf("%s\n  no trace", line)
		return
	}
	last := x.Trace[len(x.Trace)-1]
	if last.Rule != x.Rule || !last.Matched {
		t.Errorf("%s\n  the trace ends with %+v, the verdict is by %s", line, last, x.Rule)
	}
	for _, step := range x.Trace[:len(x.Trace)-1] {
		if step.Matched && step.Action != "monitor" && !strings.HasSuffix(step.Action, "(report-only)") {
			t.Errorf("%s\n  step %+v matched before the deciding rule", line, step)
		}
		if step.Because == "" {
			t.Errorf("%s\n  step %s gives no reason", line, step.Rule)
		}
	}
}

func describe(v *policy.Verdict) map[string]string {
	got := map[string]string{
		"action": v.Action.String(),
		"by":     v.RuleName(),
		"app":    v.AppID(),
		"group":  v.Group,
		"fact":   v.Fact.String(),
	}
	if v.Would != nil {
		got["would"] = v.WouldAction.String() + ":" + v.Would.Name
	}
	if !v.NextEdge.IsZero() {
		got["edge"] = v.NextEdge.UTC().Format(time.RFC3339)
	}
	got["needs-user"] = strconv.FormatBool(v.NeedsUser)
	return got
}

func TestZeroValuesDeny(t *testing.T) {
	var v policy.Verdict
	if v.Action != policy.ActionBlock {
		t.Errorf("the zero Verdict says %s", v.Action)
	}
	empty := policy.NewEngine(nil)
	if got := empty.Decide(&policy.Request{Door: policy.DoorDNS}); got.Action != policy.ActionBlock {
		t.Errorf("an engine without a program says %s", got.Action)
	}
	data, err := os.ReadFile("testdata/decide/memo.txtar")
	if err != nil {
		t.Fatal(err)
	}
	program, _ := compileArchive(t, txtar.Parse(data))
	if got := program.Decide(&policy.Request{}); got.Action != policy.ActionBlock {
		t.Errorf("a request at no door gets %s", got.Action)
	}
}
