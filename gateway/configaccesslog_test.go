package gateway

import (
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/accesslog"
)

func TestAccessLogSettings(t *testing.T) {
	c, problems := parseConfig("/etc/sallyport/sallyport.yaml", []byte(`
audit: {file: decisions.jsonl}
proxy:
  access_logs:
    - {file: ./access.log}
    - {file: /var/log/combined.log, format: combined, query: keep}
    - {file: squid.log, format: squid, query: strip}
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := []AccessLogConfig{
		{File: "/etc/sallyport/access.log", Format: accesslog.FormatSquid},
		{File: "/var/log/combined.log", Format: accesslog.FormatCombined, KeepQuery: true},
		{File: "/etc/sallyport/squid.log", Format: accesslog.FormatSquid},
	}
	if !slices.Equal(c.Proxy.AccessLogs, want) {
		t.Errorf("got %+v\nwant %+v", c.Proxy.AccessLogs, want)
	}
	if c, problems := parseConfig("f.yaml", []byte("proxy: {access_logs: []}")); len(problems) > 0 || len(c.Proxy.AccessLogs) > 0 {
		t.Errorf("no access logs: %+v, %v", c.Proxy.AccessLogs, problems)
	}
}

func TestBadAccessLogs(t *testing.T) {
	for _, test := range []struct{ name, yaml, want string }{
		{"no list", "proxy: {access_logs: {file: a.log}}", `f.yaml:1:22: "access_logs" must be a list`},
		{"no mapping", "proxy: {access_logs: [a.log]}", `f.yaml:1:23: an access log must be a mapping, and "a.log" is a file: write {file: a.log}`},
		{"a file", "proxy: {access_logs: a.log}", `f.yaml:1:22: an access log must be a mapping, and "a.log" is a file: write {file: a.log}`},
		{"a list in the list", "proxy: {access_logs: [[a.log]]}", `f.yaml:1:23: an item of "access_logs" must be a mapping, not a list`},
		{"no file", "proxy: {access_logs: [{format: squid}]}", `f.yaml:1:23: access log without "file"`},
		{"empty file", "proxy: {access_logs: [{file: ''}]}", `f.yaml:1:30: "file" is empty`},
		{"format", "proxy: {access_logs: [{file: a.log, format: combinde}]}", `f.yaml:1:45: unknown format "combinde": did you mean "combined"?`},
		{"query", "proxy: {access_logs: [{file: a.log, query: drop}]}", `use strip or keep`},
		{"unknown key", "proxy: {access_logs: [{file: a.log, fromat: squid}]}", `unknown key "fromat" in access log: did you mean "format"?`},
		{"twice", "proxy:\n  access_logs:\n    - {file: a.log}\n    - {format: combined, file: x/../a.log}", `f.yaml:4:32: access log "a.log" is written twice`},
		{"the decision log", "proxy:\n  access_logs: [{file: ./log}]\naudit: {file: log}", `f.yaml:2:24: "log" is both an access log and audit.file`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, problems := parseConfig("f.yaml", []byte(test.yaml))
			if !problems.HasErrors() {
				t.Fatal("it was taken")
			}
			if text := problems.Err().Error(); len(problems) != 1 || !strings.Contains(text, test.want) {
				t.Errorf("got  %s\nwant %s", text, test.want)
			}
		})
	}
}
