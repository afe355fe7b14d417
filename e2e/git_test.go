package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// git clones a repository that nginx serves as plain files, with and without
// the gateway, and tries a name that the memo forbids.
func (tn town) git(t *testing.T) {
	path := need(t, "git")
	home := t.TempDir()
	git := func(dir string, args ...string) result {
		t.Helper()
		return run(t, dir, path, append([]string{
			"-c", "user.name=Alex", "-c", "user.email=alex@corp.example", "-c", "init.defaultBranch=main",
			"-c", "http.sslCAInfo=" + tn.origin.authority,
		}, args...)...)
	}
	must := func(dir string, args ...string) string {
		t.Helper()
		r := git(dir, args...)
		if r.code != 0 {
			t.Fatalf("git %v: exit status %d\n%s", args, r.code, r.stderr)
		}
		return strings.TrimSpace(r.stdout)
	}

	work := filepath.Join(home, "work")
	must(home, "init", "--quiet", work)
	for i := range 5 {
		writeFile(t, filepath.Join(work, "plan.txt"), []byte(strings.Repeat(fmt.Sprintf("step %d\n", i), 5000)))
		must(work, "add", "plan.txt")
		must(work, "commit", "--quiet", "-m", fmt.Sprintf("step %d", i))
	}
	bare := filepath.Join(tn.origin.dir, "site", "repo.git")
	must(home, "clone", "--quiet", "--bare", work, bare)
	must(bare, "update-server-info") // what a server without git needs

	proxied := []string{"-c", "http.proxy=http://" + tn.proxy}
	resolve := func(name string) []string {
		return []string{"-c", fmt.Sprintf("http.curloptResolve=%s:%d:127.0.0.1", name, tn.origin.https)}
	}
	url := tn.origin.url("https", "git.rockets.example", "/repo.git")
	must(home, append(resolve("git.rockets.example"), "clone", "--quiet", url, "direct")...)
	must(home, append(proxied, "clone", "--quiet", url, "through")...)
	for _, question := range [][]string{{"rev-parse", "HEAD"}, {"log", "--format=%H %T %s"}, {"fsck", "--full"}, {"status", "--porcelain"}} {
		direct, through := must(filepath.Join(home, "direct"), question...), must(filepath.Join(home, "through"), question...)
		if through != direct {
			t.Errorf("git %v through the gateway\n%s\nwithout\n%s", question, through, direct)
		}
	}

	refused := git(home, append(proxied, "clone", "--quiet", tn.origin.url("https", "zoom.us", "/repo.git"), "refused")...)
	if refused.code == 0 || !strings.Contains(refused.stderr, "403") {
		t.Errorf("git clone from zoom.us: exit status %d, want a failure that shows the 403:\n%s", refused.code, refused.stderr)
	}
	if _, err := os.Stat(filepath.Join(home, "refused")); err == nil {
		t.Error("git clone from zoom.us left a repository behind")
	}
}
