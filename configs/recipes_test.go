package configs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/gateway"
)

// TestRecipes loads every whole policy in docs/writing-policy.md: it is good,
// lints clean, has tests of its own and passes them, as the page promises.
func TestRecipes(t *testing.T) {
	page, err := os.ReadFile("../docs/writing-policy.md")
	if err != nil {
		t.Fatal(err)
	}
	// The day on which the page was written: exceptions of its policies end.
	day := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	section := regexp.MustCompile("(?ms)^## ([^\n]+)$|^```yaml\n(.*?)^```$")
	title, found := "", 0
	for _, part := range section.FindAllStringSubmatch(string(page), -1) {
		if part[1] != "" {
			title = part[1]
			continue
		}
		if !strings.HasPrefix(part[2], "version: 1\n") {
			continue
		}
		found++
		t.Run(title, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "policy.yaml")
			if err := os.WriteFile(path, []byte(part[2]), 0o600); err != nil {
				t.Fatal(err)
			}
			loaded := gateway.LoadPolicy(path, day)
			for _, problem := range loaded.All() {
				t.Error(problem)
			}
			if loaded.Document == nil || len(loaded.Document.Tests) == 0 {
				t.Error("it has no tests of its own")
			}
		})
	}
	if found < 8 {
		t.Errorf("the page has %d whole policies, and 8 were found when this test was written", found)
	}
}
