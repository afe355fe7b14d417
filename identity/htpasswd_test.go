package identity

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func hashOf(t testing.TB, password string) string {
	t.Helper()
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseHtpasswd(t *testing.T) {
	hash := hashOf(t, "rocket")
	data := "\ufeff# staff\r\n\r\nAlice:" + hash + "\r\n  bob : " + strings.Replace(hash, "$2a$", "$2y$", 1) +
		"\ncarol:" + strings.Replace(hash, "$2a$", "$2b$", 1)
	h, err := parseHtpasswd("users", []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	if h.Len() != 3 {
		t.Errorf("%d users, want 3", h.Len())
	}
	for _, user := range []string{"alice", "bob", "carol"} {
		if !h.verify(user, []byte("rocket")) {
			t.Errorf("%s: the right password is refused", user)
		}
		if h.verify(user, []byte("rockets")) {
			t.Errorf("%s: a wrong password is accepted", user)
		}
	}
	if h.has("Alice") || h.verify("dave", []byte("rocket")) {
		t.Error("a user who is not in the table is known")
	}
}

func TestParseHtpasswdErrors(t *testing.T) {
	good := hashOf(t, "x")
	for _, test := range []struct {
		name, data string
		want       []string // each in the message
	}{
		{"empty file", "", []string{"users: no users", "htpasswd -B users"}},
		{"comments only", "# nobody\n\n", []string{"no users"}},
		{"no colon", "alice\n", []string{"users:1: no colon"}},
		{"empty user", ":" + good, []string{"users:1: the user name is empty"}},
		{"empty hash", "\nalice:\n", []string{`users:2: user "alice": the hash is empty`}},
		{"duplicate", "alice:" + good + "\nALICE:" + good, []string{`users:2: user "alice" is on line 1 already`}},
		{"long user", strings.Repeat("u", maxUser+1) + ":" + good, []string{"longer than 256 bytes"}},
		{"control character", "a\x07b:" + good, []string{`"a\ab" is not printable`}},
		{"MD5", "alice:$apr1$ab$cd", []string{"MD5 (apr1), not bcrypt", "htpasswd -B"}},
		{"SHA-1", "alice:{SHA}abc=", []string{"SHA-1, not bcrypt"}},
		{"SHA-512", "alice:$6$ab$cd", []string{"SHA-512 (crypt), not bcrypt"}},
		{"plain text", "alice:hunter2", []string{"DES crypt, plain text or unknown"}},
		{"faulty variant", "alice:" + strings.Replace(good, "$2a$", "$2x$", 1), []string{"faulty bcrypt variant"}},
		{"cut off", "alice:" + good[:59], []string{"60 characters, not 59"}},
		{"a third field", "alice:" + good + ":x", []string{"60 characters, not 62"}},
		{"no cost", "alice:$2y$xx" + good[6:], []string{"names no cost"}},
		{"cost too low", "alice:$2y$03" + good[6:], []string{"names no cost"}},
		{"cost not ended", "alice:$2y$055" + good[7:], []string{"names no cost"}},
		{"cost too high", "alice:$2y$16" + good[6:], []string{"cost of 16", "-C 15"}},
		{"odd character", "alice:" + good[:59] + "!", []string{"a character that no hash has"}},
		{"every problem", "alice\nbob:\n:x\n", []string{"users:1:", "users:2:", "users:3:"}},
		{"too many problems", strings.Repeat("alice\n", 50), []string{"users:20:", "more problems follow"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, err := parseHtpasswd("users", []byte(test.data))
			if err == nil {
				t.Fatalf("accepted %d users", h.Len())
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("message %q lacks %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), good[20:40]) {
				t.Errorf("message %q shows a secret", err)
			}
		})
	}
}

func TestLoadHtpasswd(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	if _, err := LoadHtpasswd(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a missing file: %v, want an error with its path", err)
	}
	if _, err := LoadHtpasswd(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	if err := os.WriteFile(path, []byte("alice:"+hashOf(t, "x")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		h, err := LoadHtpasswd(path)
		if err != nil {
			t.Fatalf("mode %#o: %v", mode, err)
		}
		if !h.verify("alice", []byte("x")) {
			t.Errorf("mode %#o: alice's password is refused", mode)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadHtpasswd(path); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %#o: %v, want an error with the remedy", mode, err)
		}
	}
}

func TestLoadHtpasswdTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(maxHtpasswd + 1); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadHtpasswd(path); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a file beyond the bound: %v", err)
	}
}

// FuzzHtpasswd checks that whatever is accepted can be used: bcrypt takes
// every hash, names are in canonical form, and the table reads back the same.
func FuzzHtpasswd(f *testing.F) {
	good := hashOf(f, "x")
	f.Add("alice:" + good)
	f.Add("# c\r\n\r\nAlice:" + good + "\r\nbob:" + good)
	f.Add("alice:$apr1$a$b\n:\n\x00")
	f.Add("alice:$2y$31" + good[6:])
	f.Add("\ufeffİ:" + good)
	f.Fuzz(func(t *testing.T, data string) {
		h, err := parseHtpasswd("users", []byte(data))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "users:") {
				t.Fatalf("error %q names no file", err)
			}
			return
		}
		var again strings.Builder
		for user, hash := range h.hashes {
			if user == "" || user != canonicalUser(user) {
				t.Fatalf("user %q is not canonical", user)
			}
			if cost, err := bcrypt.Cost(hash); err != nil || cost > maxCost {
				t.Fatalf("hash of %q: cost %d, %v", user, cost, err)
			}
			again.WriteString(user + ":" + string(hash) + "\n")
		}
		if len(h.decoys) != h.Len() || h.Len() == 0 {
			t.Fatalf("%d decoys for %d users", len(h.decoys), h.Len())
		}
		h2, err := parseHtpasswd("users", []byte(again.String()))
		if err != nil || h2.Len() != h.Len() {
			t.Fatalf("read back: %v", err)
		}
	})
}
