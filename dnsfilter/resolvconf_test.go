package dnsfilter

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/dnsfilter/upstream"
)

func TestSystemUpstreams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := SystemUpstreams(path); err == nil {
		t.Error("a missing file has resolvers")
	}
	write("options edns0\n")
	if _, err := SystemUpstreams(path); err == nil || !strings.Contains(err.Error(), "dns.upstreams") {
		t.Errorf("a file without resolvers: %v, want a remedy", err)
	}
	write("nameserver 127.0.0.53\n")
	if got, err := SystemUpstreams(path); err != nil || !slices.Equal(got, []string{"udp://127.0.0.53:53"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestReadResolvConf(t *testing.T) {
	const text = `
# made by hand
domain corp.example
nameserver 192.0.2.1
  nameserver	192.0.2.2   # spare
nameserver fe80::1%eth0
nameserver nonsense
nameserver
;nameserver 192.0.2.3
options edns0
`
	got, err := readResolvConf(strings.NewReader(text))
	want := []string{"udp://192.0.2.1:53", "udp://192.0.2.2:53", "udp://[fe80::1%eth0]:53"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for _, u := range got {
		pool, err := upstream.New(upstream.Config{Servers: []string{u}}, upstream.Dependencies{})
		if err != nil {
			t.Errorf("%q is no upstream: %v", u, err)
			continue
		}
		pool.Close()
	}
}
