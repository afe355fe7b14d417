package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestRefusesToStart gives the binary what it cannot run with: it must say what
// is wrong, where, and what to do, and end with status 1.
func TestRefusesToStart(t *testing.T) {
	binary := sallyport(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() }) // later than a defer: the subtests are parallel
	takenUDP, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { takenUDP.Close() })
	port := taken.Addr().(*net.TCPAddr).Port
	portUDP := takenUDP.LocalAddr().(*net.UDPAddr).Port

	for _, c := range []struct {
		name    string
		setting setting
		spoil   func(t *testing.T, dir string)
		want    []string // what standard error must tell
	}{
		{name: "proxy port taken", setting: setting{ProxyPort: port}, want: []string{strconv.Itoa(port), "in use"}},
		{name: "DNS port taken by TCP", setting: setting{DNSPort: port}, want: []string{strconv.Itoa(port), "in use"}},
		{name: "DNS port taken by UDP", setting: setting{DNSPort: portUDP}, want: []string{strconv.Itoa(portUDP), "in use"}},
		{name: "policy missing", spoil: remove("policy.yaml"), want: []string{"policy.yaml", "there is no policy"}},
		{name: "policy empty", spoil: replace("policy.yaml", ""), want: []string{"policy.yaml", "empty"}},
		{
			name: "unknown key in the policy", spoil: edit("policy.yaml", "default: allow", "defualt: allow"),
			want: []string{"policy.yaml:", "defualt", "default"},
		},
		{
			name: "unknown app in the policy", spoil: edit("policy.yaml", "apps: [zoom]", "apps: [zom]"),
			want: []string{"policy.yaml:", `unknown app "zom"`, `did you mean "zoom"?`},
		},
		{
			name: "failing test in the policy", spoil: edit("policy.yaml", "want: block, by: zoom-memo", "want: allow, by: approved"),
			want: []string{"policy.yaml:", "test"},
		},
		{
			name: "unknown key in the configuration", spoil: edit("sallyport.yaml", "tenant:", "tennant:"),
			want: []string{"sallyport.yaml:2:1", "tennant", "tenant"},
		},
		{
			name: "bad address in the configuration", spoil: edit("sallyport.yaml", "clients: [127.0.0.0/8]", "clients: [127.0.0.1/8]"),
			want: []string{"sallyport.yaml:", "127.0.0.0/8"},
		},
		{name: "users file missing", setting: setting{Users: "users.htpasswd"}, want: []string{"users.htpasswd", "there is no file"}},
		{
			name: "users file readable by all", setting: setting{Users: "users.htpasswd"},
			spoil: func(t *testing.T, dir string) {
				path := filepath.Join(dir, "users.htpasswd")
				writeFile(t, path, []byte(htpasswd(t, "alex@corp.example", "apogee")))
				if err := os.Chmod(path, 0o644); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{"users.htpasswd", "chmod"},
		},
		{
			name: "users file with a weak hash", setting: setting{Users: "users.htpasswd"},
			spoil: replace("users.htpasswd", "alex@corp.example:$apr1$salt$0123456789\n"),
			want:  []string{"users.htpasswd:1", "bcrypt", "htpasswd -B"},
		},
		{name: "configuration missing", spoil: remove("sallyport.yaml"), want: []string{"sallyport.yaml", "no such file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.setting.Upstream = 9 // discard; nothing gets so far as to ask
			dir, config := configure(t, c.setting, readFile(t, "testdata/policy.yaml"))
			if c.spoil != nil {
				c.spoil(t, dir)
			}
			r := run(t, dir, binary, "serve", "--config", config)
			if r.code != 1 {
				t.Errorf("exit status %d, want 1", r.code)
			}
			for _, word := range c.want {
				if !strings.Contains(r.stderr, word) {
					t.Errorf("standard error does not say %q:\n%s", word, r.stderr)
				}
			}
			if strings.Contains(r.stdout, "ready") {
				t.Errorf("standard output says ready:\n%s", r.stdout)
			}
			if strings.Contains(r.stderr, "goroutine ") || strings.Contains(r.stderr, "panic") {
				t.Errorf("standard error shows the program's insides:\n%s", r.stderr)
			}
		})
	}

	t.Run("usage", func(t *testing.T) {
		if r := run(t, t.TempDir(), binary, "serve", "--confg", "x"); r.code != 2 || !strings.Contains(r.stderr, "confg") {
			t.Errorf("an unknown flag: exit status %d, want 2:\n%s", r.code, r.stderr)
		}
	})
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func replace(name, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, name), []byte(text)) }
}

func edit(name, from, to string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, name)
		writeFile(t, path, []byte(changed(t, readFile(t, path), from, to)))
	}
}

// changed replaces the first from by to, and fails where there is none: an
// edit that changes nothing would prove nothing.
func changed(t *testing.T, text, from, to string) string {
	t.Helper()
	if !strings.Contains(text, from) {
		t.Fatalf("no %q to change in:\n%s", from, text)
	}
	return strings.Replace(text, from, to, 1)
}
