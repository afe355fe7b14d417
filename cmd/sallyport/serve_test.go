package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// readyHook is a standard output that does something once serve is ready.
type readyHook struct {
	once sync.Once
	do   func()
}

func (h *readyHook) Write(p []byte) (int, error) {
	if bytes.HasSuffix(p, []byte("ready\n")) {
		h.once.Do(h.do)
	}
	return len(p), nil
}

// TestLibrariesLogWithUs has something log through the standard library while
// the gateway runs, as libraries do, and finds it among the gateway's own words.
func TestLibrariesLogWithUs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("policy.yaml", "version: 1\ndefault: allow\nrules: [{name: memo, what: {domains: [zoom.us]}, action: block}]\n")
	config := write("sallyport.yaml", `policy: policy.yaml
dns: {listen: [127.0.0.1:0], upstreams: [127.0.0.1:9]}
proxy: {listen: [127.0.0.1:0]}
admin: {listen: ""}
portal: {listen: ""}
log: {format: json}
`)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var stderr bytes.Buffer // read after run, which writes under a lock
	code := run(ctx, []string{"serve", "--config", config}, process{
		stdout: &readyHook{do: func() {
			slog.Default().Warn("a library has something to say") // by way of the standard log
			cancel()
		}},
		stderr: &stderr,
		getenv: func(string) string { return "" },
	})
	if code != exitOK {
		t.Fatalf("exit status %d: %s", code, &stderr)
	}
	var line string
	for l := range strings.Lines(stderr.String()) {
		if strings.Contains(l, "a library has something to say") {
			line = l
		}
	}
	if !strings.Contains(line, `"level":"warn"`) || !strings.Contains(line, `"logger":"library"`) {
		t.Errorf("the line is %q in %s", line, &stderr)
	}
	before := stderr.Len()
	slog.Default().Warn("said by the test after the gateway has stopped")
	if stderr.Len() != before {
		t.Error("the standard log was not given back")
	}
}

// TestWarningsOfTheConfiguration are said once, at their level, with their
// place beside them.
func TestWarningsOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"policy.yaml": "version: 1\ndefault: allow\n",
		"sallyport.yaml": `policy: policy.yaml
dns: {listen: [127.0.0.1:0], upstreams: [127.0.0.1:9]}
proxy: {listen: [127.0.0.1:0]}
admin: {listen: ""}
portal: {listen: ""}
audit: {pseudonyms: {key: none.key}}
log: {format: json}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var stderr bytes.Buffer
	config := filepath.Join(dir, "sallyport.yaml")
	code := run(ctx, []string{"serve", "--config", config}, process{
		stdout: &readyHook{do: cancel},
		stderr: &stderr,
		getenv: func(string) string { return "" },
	})
	if code != exitOK {
		t.Fatalf("exit status %d: %s", code, &stderr)
	}
	if text := stderr.String(); !strings.Contains(text, `"msg":"audit.pseudonyms does nothing`) || !strings.Contains(text, `"place":"`+config+`:6:21"`) || strings.Contains(text, "warning:") {
		t.Errorf("the log says %s", text)
	}
}
