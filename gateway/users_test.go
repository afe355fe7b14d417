package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/policy"
)

// htpasswdLine is a line for a user whose password is their name.
func htpasswdLine(t *testing.T, user string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(user), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return user + ":" + string(hash) + "\n"
}

// TestUsersFileEdits breaks the htpasswd file of a running gateway in every
// way, and mends it: those known before stay, the log and /readyz say what to
// do where, a reload by request fails, and all of it passes with the file.
func TestUsersFileEdits(t *testing.T) {
	good := htpasswdLine(t, "priya")
	for _, poll := range []time.Duration{time.Hour, 20 * time.Millisecond} {
		path := filepath.Join(t.TempDir(), "users.htpasswd")
		writeFile(t, path, good)
		g := start(t, memo, func(c *Config, _ *Dependencies) {
			c.Proxy.UsersFile = path
			c.Reload.Poll = poll
		})
		for _, test := range []struct {
			name  string
			spoil func() error
			want  []string
		}{
			{"bad lines", func() error { return os.WriteFile(path, []byte(good+"alex\nsam:x\n"), 0o600) }, []string{path + ":2: no colon", path + ":3: ", "htpasswd -B"}},
			{"gone", func() error { return os.Remove(path) }, []string{"there is no file", "htpasswd -B -c " + path}},
			{"open to everybody", func() error { return errors.Join(os.WriteFile(path, []byte(good), 0o600), os.Chmod(path, 0o644)) }, []string{"chmod 600 " + path}},
		} {
			t.Run(fmt.Sprintf("%s, poll %v", test.name, poll), func(t *testing.T) {
				if err := test.spoil(); err != nil {
					t.Fatal(err)
				}
				eventually(t, func() error {
					status, body := g.get("/readyz")
					for _, want := range append(test.want, "users known before can still sign in") {
						if status != http.StatusOK || !strings.Contains(body, want) {
							return fmt.Errorf("readyz: %d %s, want %s", status, body, want)
						}
					}
					return nil
				})
				if _, err := g.identity.ByCredentials(loopback(), basic("priya", "priya")); err != nil {
					t.Errorf("a user known before cannot sign in: %v", err)
				}
				status, body := g.http("POST", "/-/reload")
				if status != http.StatusUnprocessableEntity || !strings.Contains(body, "proxy.users: ") || !strings.Contains(body, `"loaded": true`) {
					t.Errorf("reload: %d %s", status, body)
				}
				entries := g.log.FilterMessageSnippet("users not read").All()
				last := fmt.Sprint(entries[len(entries)-1].ContextMap()["problems"])
				for _, want := range test.want {
					if !strings.Contains(last, want) {
						t.Errorf("the log has %s, want %s", last, want)
					}
				}

				mended := good + htpasswdLine(t, "alex")
				if err := errors.Join(os.WriteFile(path, []byte(mended), 0o600), os.Chmod(path, 0o600)); err != nil {
					t.Fatal(err)
				}
				eventually(t, func() error {
					if _, body := g.get("/readyz"); body != "ready\n" {
						return fmt.Errorf("the file is mended, and readyz says %s", body)
					}
					_, err := g.identity.ByCredentials(loopback(), basic("alex", "alex"))
					return err
				})
				if status, body := g.http("POST", "/-/reload"); status != http.StatusOK {
					t.Errorf("reload: %d %s", status, body)
				}
			})
		}
		if g.metric(failures) != "0" {
			t.Error("a mistake in the users counts as one in the policy")
		}
	}
}

// TestHalfAnHtpasswd writes the file in pieces: nobody is taken away meanwhile,
// and open tunnels are judged again once, at the end.
func TestHalfAnHtpasswd(t *testing.T) {
	priya, alex := htpasswdLine(t, "priya"), htpasswdLine(t, "alex")
	path := filepath.Join(t.TempDir(), "users.htpasswd")
	writeFile(t, path, alex+priya)
	policyPath := filepath.Join(t.TempDir(), "policy.yaml")
	writeFile(t, policyPath, memo)
	g, _ := assembled(t, policyPath, func(c *Config) { c.Proxy.UsersFile = path })
	rechecked := []string{}
	g.users.recheck = func(reason string) (int, int) { rechecked = append(rechecked, reason); return 0, 0 }
	known := func(user string) bool {
		_, err := g.identity.ByCredentials(loopback(), basic(user, user))
		return err == nil
	}
	now := time.Now()
	look := func(text string, after time.Duration) time.Duration {
		writeFile(t, path, text)
		now = now.Add(after)
		return g.reloader.edited(now)
	}
	for _, half := range []string{"", alex[:20], alex, alex + priya[:30]} {
		if again := look(half, 50*time.Millisecond); again != confirmTime || !known("priya") || !known("alex") {
			t.Errorf("with half a file: look again in %v, priya known %v, alex known %v", again, known("priya"), known("alex"))
		}
	}
	if again := look(priya, 50*time.Millisecond); again != confirmTime || !known("alex") {
		t.Errorf("with the whole: look again in %v, alex known %v", again, known("alex"))
	}
	if again := look(priya, 60*time.Millisecond); again != 40*time.Millisecond || len(rechecked) != 0 {
		t.Errorf("not yet at rest: look again in %v, %v", again, rechecked)
	}
	if again := look(priya, 40*time.Millisecond); again != 0 || known("alex") || !known("priya") {
		t.Errorf("at rest: look again in %v, alex known %v, priya known %v", again, known("alex"), known("priya"))
	}
	if len(rechecked) != 1 || rechecked[0] != "users" {
		t.Errorf("tunnels were judged again for %v, want once, for the users", rechecked)
	}
}

func TestUsersProblems(t *testing.T) {
	got := usersProblems(policy.Position{File: "sallyport.yaml", Line: 2, Column: 9}, "u", errors.Join(errors.New("u:1: one"), errors.New("u:2: two")))
	if len(got) != 2 || !got.HasErrors() || got[1].String() != (policy.Problem{
		Position: policy.Position{File: "sallyport.yaml", Line: 2, Column: 9}, Message: "proxy.users: u:2: two",
	}).String() {
		t.Errorf("got %v", got)
	}
}
