package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

func TestListByURL(t *testing.T) {
	const digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	doc, problems := policy.Parse([]policy.File{{Name: "p.yaml", Data: []byte(`
version: 1
default: allow
lists:
  plain: {url: "HTTPS://lists.example/a.txt?key=1"}
  full:
    url: https://lists.example:8443/b.txt
    refresh: 12h
    sha256: ` + strings.ToUpper(digest) + `
    max_size: 64MiB
`)}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	plain, full := doc.Lists[0], doc.Lists[1]
	plain.Position, full.Position = policy.Position{}, policy.Position{}
	if want := (policy.ListSource{Name: "plain", URL: "https://lists.example/a.txt?key=1"}); plain != want {
		t.Errorf("got %+v, want %+v", plain, want)
	}
	want := policy.ListSource{
		Name: "full", URL: "https://lists.example:8443/b.txt",
		Refresh: 12 * time.Hour, SHA256: digest, MaxSize: 64 << 20,
	}
	if full != want {
		t.Errorf("got %+v, want %+v", full, want)
	}
}
