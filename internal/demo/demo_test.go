package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// net/http lingers for half a second behind the answer to a request that it
// could not read, on a goroutine that ends by itself and that nothing waits for;
// goleak waits a little less.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

func TestDemo(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(memo, &stdout, &stderr); code != 0 {
		t.Errorf("exit status %d: %s", code, stderr.String())
	}
	table := stdout.String()
	t.Log("\n" + table)
	for _, line := range []string{
		"16 of 16 as the memo says",
		"zoom-memo: Privacy and security concerns",
		"nasa-review",
		"approved",
		"goes to launch.rockets.example",
		"Apr  3 18:00:00",
	} {
		if !strings.Contains(table, line) {
			t.Errorf("the table does not say %q", line)
		}
	}
	if strings.Contains(table, "\x1b") {
		t.Error("the table has control sequences")
	}
}

// TestDemoFails plays with a policy that is not the memo's.
func TestDemoFails(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"apps: [msteams, webex]", "apps: [webex]", "WRONG: should be open by approved"},
		{"users: [priya@corp.example]", "users: [alex@corp.example]", "WRONG: should be open by nasa-review"},
		{"version: 1", "version: 2", "0 of 0"},
	} {
		policy := bytes.Replace(memo, []byte(c.from), []byte(c.to), 1)
		if bytes.Equal(policy, memo) {
			t.Fatalf("the memo has no %q to change", c.from)
		}
		if c.from != "version: 1" {
			policy = policy[:bytes.Index(policy, []byte("\ntests:"))] // they would keep it from being loaded
		}
		var stdout, stderr bytes.Buffer
		if code := run(policy, &stdout, &stderr); code != 1 || stderr.Len() == 0 {
			t.Errorf("%s instead of %s: exit status %d, standard error %q, want 1 and why", c.to, c.from, code, stderr.String())
		}
		if !strings.Contains(stdout.String(), c.want) {
			t.Errorf("%s instead of %s: no %q in\n%s", c.to, c.from, c.want, stdout.String())
		}
	}
}

// TestTableTellsWrong makes sure that a play that goes wrong is seen to.
func TestTableTellsWrong(t *testing.T) {
	var out bytes.Buffer
	at := time.Date(2020, time.March, 28, 0, 0, 0, 0, time.UTC)
	wrong, err := printTable(&out, []row{
		{at: at, who: "Alex", what: "goes to zoom.us", dns: saysOpen, proxy: saysRefused, wrong: "the doors disagree"},
		{at: at, who: "Alex", what: "joins", proxy: saysOpen},
	})
	if err != nil || wrong != 1 {
		t.Errorf("%d wrong, %v, want 1 and no error", wrong, err)
	}
	for _, text := range []string{"WRONG: the doors disagree", "1 of 2 as the memo says"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("no %q in:\n%s", text, out.String())
		}
	}
	if strings.Count(out.String(), "Mar 28") != 1 {
		t.Errorf("the shared time is not shown once:\n%s", out.String())
	}
	if _, err := printTable(brokenWriter{}, nil); err == nil {
		t.Error("a table that cannot be printed is no error")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken") }
