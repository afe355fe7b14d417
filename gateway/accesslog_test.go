package gateway

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/accesslog"
	"github.com/sallyport/sallyport/proxy"
)

// accessed is a page that was refused, with something in every field.
func accessed() proxy.Access {
	return proxy.Access{
		End: time.Unix(1585411200, 0), Duration: 42 * time.Millisecond,
		Client: netip.MustParseAddr("10.4.7.7"), User: "alice@corp.example",
		Outcome: proxy.OutcomeRefused, ClientLeft: true, Status: 403, Sent: 378, SentBody: 120,
		Method: "GET", URL: "http://zoom.us/j/1?pwd=x", Major: 1, Minor: 0,
		Server: netip.MustParseAddr("10.0.0.40"), Parent: true,
		ContentType: "text/html", Referer: "http://a.example/", UserAgent: "curl/8",
	}
}

// Every field of what the door reports arrives in a line.
func TestAccessLogsSayWhatTheDoorHasSeen(t *testing.T) {
	dir := t.TempDir()
	squid, combined := filepath.Join(dir, "squid.log"), filepath.Join(dir, "combined.log")
	g := start(t, memo, func(c *Config, _ *Dependencies) {
		c.Proxy.AccessLogs = []AccessLogConfig{
			{File: squid},
			{File: combined, Format: accesslog.FormatCombined, KeepQuery: true},
		}
	})
	a := accessed()
	g.access.sink()(&a)
	waitFile(t, squid, "1585411200.000     42 10.4.7.7 TCP_DENIED_ABORTED/403 378 GET http://zoom.us/j/1? alice@corp.example FIRSTUP_PARENT/10.0.0.40 text/html\n")
	began := a.End.Add(-a.Duration).Format("02/Jan/2006:15:04:05 -0700")
	waitFile(t, combined, "10.4.7.7 - alice@corp.example ["+began+`] "GET http://zoom.us/j/1?pwd=x HTTP/1.0" 403 120 "http://a.example/" "curl/8"`+"\n")
}

func TestAccessResults(t *testing.T) {
	for _, test := range []struct {
		outcome proxy.Outcome
		method  string
		want    accesslog.Result
	}{
		{proxy.OutcomeUnread, "", accesslog.ResultNone},
		{proxy.OutcomeUnread, "GET", accesslog.ResultNone},
		{proxy.OutcomeRefused, "CONNECT", accesslog.ResultDenied},
		{proxy.OutcomeRefused, "GET", accesslog.ResultDenied},
		{proxy.OutcomeFailed, "CONNECT", accesslog.ResultNone},
		{proxy.OutcomeFailed, "GET", accesslog.ResultMiss},
		{proxy.OutcomeForwarded, "POST", accesslog.ResultMiss},
		{proxy.OutcomeTunnelled, "CONNECT", accesslog.ResultTunnel},
		{proxy.OutcomeTunnelled, "GET", accesslog.ResultTunnel},
	} {
		if got := accessResult(&proxy.Access{Outcome: test.outcome, Method: test.method}); got != test.want {
			t.Errorf("%s with outcome %d is %v, want %v", test.method, test.outcome, got, test.want)
		}
	}
}

func TestAccessLogsAreOpenedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	hangup := make(chan os.Signal, 1)
	g := start(t, memo, func(c *Config, d *Dependencies) {
		d.Hangup = hangup
		c.Proxy.AccessLogs = []AccessLogConfig{{File: path}}
	})
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	hangup <- syscall.SIGHUP
	waitFile(t, path, "")
	a := accessed()
	g.access.sink()(&a)
	waitFile(t, path, "TCP_DENIED")
	if old, err := os.ReadFile(path + ".1"); err != nil || len(old) > 0 {
		t.Errorf("the file that was moved away holds %q, %v", old, err)
	}
}

func TestNoAccessLogAsksForNothing(t *testing.T) {
	if g := start(t, memo, nil); g.access.sink() != nil {
		t.Error("the door puts together what nobody wants")
	}
}

// A log that cannot be opened stops the start, and leaves none open behind it.
func TestAccessLogThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "policy.yaml"), memo)
	config := testConfig(t, filepath.Join(dir, "policy.yaml"))
	config.Proxy.AccessLogs = []AccessLogConfig{
		{File: filepath.Join(dir, "access.log")},
		{File: filepath.Join(dir, "no", "folder.log")},
	}
	_, err := New(config, Dependencies{Stdout: &transcript{}})
	if err == nil {
		t.Fatal("it started")
	}
	for _, want := range []string{"proxy.access_logs", filepath.Join(dir, "no", "folder.log"), "make the folder"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q has no %q", err, want)
		}
	}
}

// waitFile waits until a file is there and holds a text.
func waitFile(t *testing.T, path, want string) {
	t.Helper()
	eventually(t, func() error {
		got, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(got), want) {
			err = fmt.Errorf("%s holds %q, and not %q", path, got, want)
		}
		return err
	})
}

// TestReadyzNamesALogThatCannotBeWritten: decisions go on, and whoever asks how
// the gateway is learns that nobody writes them down.
func TestReadyzNamesALogThatCannotBeWritten(t *testing.T) {
	disk := &fullDisk{}
	g := start(t, memo, func(_ *Config, deps *Dependencies) { deps.Stdout = disk })
	ready := func(want string) func() error {
		return func() error {
			g.blockedByDNS("zoom.us") // makes an entry
			if status, body := g.get("/readyz"); status != http.StatusOK || !strings.HasPrefix(body, "ready\n"+want) || want == "" && body != "ready\n" {
				return fmt.Errorf("readyz: %d %q, want %q", status, body, want)
			}
			return nil
		}
	}
	eventually(t, ready(""))
	disk.full.Store(true)
	eventually(t, ready("the decision log cannot be written: no space left on device: "))
	disk.full.Store(false)
	eventually(t, ready(""))
}

// fullDisk is an output that takes nothing while it is full.
type fullDisk struct{ full atomic.Bool }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.full.Load() {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}
