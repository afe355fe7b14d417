package gateway

import (
	"errors"
	"net"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/proxy"
)

func TestTransparentSettings(t *testing.T) {
	for _, test := range []struct {
		yaml    string
		listen  []string
		tproxy  bool
		warning string // empty: none
	}{
		{"{}", nil, false, ""},
		{"{listen: []}", nil, false, ""},
		{"{listen: ''}", nil, false, ""},
		{"{listen: [':3129']}", []string{":3129"}, false, ""},
		{"{listen: [192.0.2.1:3129], mode: redirect}", []string{"192.0.2.1:3129"}, false, ""},
		{"{listen: [':3129', 127.0.0.1:3130]}", []string{":3129", "127.0.0.1:3130"}, false, "127.0.0.1:3130 gets only what this machine's own programs ask for"},
		{"{listen: ['[::1]:3129']}", []string{"[::1]:3129"}, false, "[::1]:3129 gets only what"},
		{"{listen: [127.0.0.1:3129], mode: tproxy}", []string{"127.0.0.1:3129"}, true, ""},
		{"{listen: [], mode: redirect}", nil, false, ""},
		{"{mode: tproxy}", nil, true, "does nothing while nothing listens"},
	} {
		f, problems := parseConfigFile("f.yaml", []byte("proxy: {transparent: "+test.yaml+"}"))
		got := TransparentConfig{}
		if f != nil {
			got = f.config.Proxy.Transparent
		}
		if f == nil || !slices.Equal(got.Listen, test.listen) || got.TProxy != test.tproxy {
			t.Errorf("%s: got %+v, %v", test.yaml, got, problems)
		}
		if len(problems) > 0 != (test.warning != "") || len(problems) > 0 && !strings.Contains(problems[0].Message, test.warning) || problems.HasErrors() {
			t.Errorf("%s: got %v, want %q", test.yaml, problems, test.warning)
		}
	}
}

func TestTransparentNeedsLinux(t *testing.T) {
	var problems policy.Problems
	f := &configFile{config: DefaultConfig(), problems: &problems, at: map[string]policy.Position{}}
	f.config.Proxy.Transparent.Listen = []string{":3129"}
	f.redirected("freebsd")
	if !problems.HasErrors() || !strings.Contains(problems[0].Message, "this is freebsd") {
		t.Errorf("got %v", problems)
	}
}

func TestPeekSetting(t *testing.T) {
	for yaml, want := range map[string]time.Duration{
		"proxy: {}":                       300 * time.Millisecond,
		"proxy: {timeouts: {peek: 50ms}}": 50 * time.Millisecond,
	} {
		if c, problems := parseConfig("f.yaml", []byte(yaml)); c == nil || c.Proxy.Peek != want || len(problems) > 0 {
			t.Errorf("%s: got %+v, %v", yaml, c, problems)
		}
	}
}

// TestTransparentDoorIsOpen: whoever connects to it directly finds nobody.
func TestTransparentDoorIsOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("connections are redirected on Linux")
	}
	g := start(t, memo, func(c *Config, _ *Dependencies) { c.Proxy.Transparent.Listen = []string{"127.0.0.1:0"} })
	conn, err := net.Dial("tcp", g.addr(transparentListener))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	g.wantMetric(`sallyport_proxy_shed_total{reason="undirected"}`, "1")
}

// TestListenErrorsOfTheProxy name the setting to change, and what is lacking.
func TestListenErrorsOfTheProxy(t *testing.T) {
	for _, test := range []struct {
		name   string
		tproxy bool
		err    error
		want   string
	}{
		{"proxy http", false, syscall.EADDRINUSE, "stop that, or change proxy.listen in f.yaml"},
		{transparentListener, false, syscall.EADDRINUSE, "stop that, or change proxy.transparent.listen in f.yaml"},
		{transparentListener, false, syscall.EACCES, "CAP_NET_BIND_SERVICE: grant it, or change proxy.transparent.listen in f.yaml"},
		{transparentListener, true, syscall.EPERM, "mode tproxy needs root or CAP_NET_ADMIN: grant it, or set proxy.transparent.mode to redirect in f.yaml"},
	} {
		g := &Gateway{config: DefaultConfig()}
		g.config.Path, g.config.Proxy.Transparent.TProxy = "f.yaml", test.tproxy
		err := g.proxyListenError(&proxy.ListenError{Name: test.name, Address: ":1", Err: test.err})
		if !errors.Is(err, test.err) || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
	}
}
