package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authority"
)

// writeAuthority makes an authority for names, which ends after life, in a
// folder.
func writeAuthority(t *testing.T, dir string, life time.Duration, permit ...string) {
	t.Helper()
	pair, err := authority.Create(authority.Options{
		Organisation:  "Example Rockets",
		Permit:        permit,
		Unconstrained: len(permit) == 0,
		NotBefore:     time.Now().Add(-time.Hour),
		NotAfter:      time.Now().Add(life),
	})
	if err != nil {
		t.Fatal(err)
	}
	files := authority.Files{Certificate: filepath.Join(dir, "ca.crt"), Key: filepath.Join(dir, "ca.key")}
	if err := pair.Write(files); err != nil {
		t.Fatal(err)
	}
}

func TestInterceptionSettings(t *testing.T) {
	for _, test := range []struct {
		yaml    string
		want    InterceptionConfig
		on      bool
		warning string
	}{
		{"{ca: '', key: ''}", InterceptionConfig{Clients: "browsers"}, false, ""},
		{"{}", InterceptionConfig{Clients: "browsers"}, false, ""},
		{"{ca: ca.crt, key: /secret/ca.key}", InterceptionConfig{CA: "/etc/ca.crt", Key: "/secret/ca.key", Clients: "browsers"}, true, ""},
		{"{ca: ca.crt, key: ca.key, clients: all}", InterceptionConfig{CA: "/etc/ca.crt", Key: "/etc/ca.key", Clients: "all"}, true, ""},
		{"{clients: all}", InterceptionConfig{Clients: "all"}, false, "does nothing while there is no authority"},
	} {
		c, problems := parseConfig("/etc/sallyport.yaml", []byte("proxy: {interception: "+test.yaml+"}\n"))
		if problems.HasErrors() || c.Proxy.Interception != test.want || c.Proxy.Interception.On() != test.on {
			t.Errorf("%s: got %+v, %v", test.yaml, c.Proxy.Interception, problems)
		}
		if len(problems) > 0 != (test.warning != "") || len(problems) > 0 && !strings.Contains(problems[0].Message, test.warning) {
			t.Errorf("%s: warnings %v, want %q", test.yaml, problems, test.warning)
		}
	}
}

// TestCheckInterception looks at the files as serve would.
func TestCheckInterception(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string // of the only problem; empty: there is none
		warns bool
	}{
		{"good", func(t *testing.T, dir string) { writeAuthority(t, dir, year, "zoom.us") }, "", false},
		{"unconstrained", func(t *testing.T, dir string) { writeAuthority(t, dir, year) }, "it has no name constraints", true},
		{"ends soon", func(t *testing.T, dir string) { writeAuthority(t, dir, 24*time.Hour, "zoom.us") }, "it expires on", true},
		{"has ended", func(t *testing.T, dir string) { writeAuthority(t, dir, -time.Minute, "zoom.us") }, "it has expired on", true},
		{"no files", func(*testing.T, string) {}, "proxy.interception.ca: there is no file", false},
		{"no key", func(t *testing.T, dir string) {
			writeAuthority(t, dir, year, "zoom.us")
			if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
				t.Fatal(err)
			}
		}, "proxy.interception.key: there is no file", false},
		{"open key", func(t *testing.T, dir string) {
			writeAuthority(t, dir, year, "zoom.us")
			if err := os.Chmod(filepath.Join(dir, "ca.key"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "run chmod 600", false},
		{"another key", func(t *testing.T, dir string) {
			other := t.TempDir()
			writeAuthority(t, dir, year, "zoom.us")
			writeAuthority(t, other, year, "zoom.us")
			if err := os.Rename(filepath.Join(other, "ca.key"), filepath.Join(dir, "ca.key")); err != nil {
				t.Fatal(err)
			}
		}, "cannot be used: tls: private key does not match public key", false},
		{"a server's certificate", func(t *testing.T, dir string) {
			files := newDeviceFiles(t)
			endpoint := files.endpoint("")
			for from, to := range map[string]string{endpoint.Certificate: "ca.crt", endpoint.Key: "ca.key"} {
				data, err := os.ReadFile(from)
				if err != nil {
					t.Fatal(err)
				}
				writeFile(t, filepath.Join(dir, to), string(data))
			}
		}, "is not an authority's", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			test.spoil(t, dir)
			path := filepath.Join(dir, "sallyport.yaml")
			writeFile(t, path, "policy: policy.yaml\nproxy:\n  interception:\n    ca: ca.crt\n    key: ca.key\n")
			_, problems := CheckConfig(path)
			if test.want == "" {
				if len(problems) > 0 {
					t.Error(problems)
				}
				return
			}
			if len(problems) != 1 || !strings.Contains(problems[0].Message, test.want) || problems.HasErrors() == test.warns || problems[0].Line < 4 {
				t.Errorf("got %v, want one with %q", problems, test.want)
			}
		})
	}
}
