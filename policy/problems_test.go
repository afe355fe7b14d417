package policy_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // zones must be the same on every machine

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/policy/catalogue"
)

var updateProblems = flag.Bool("update-problems", false, "rewrite the want lines of testdata/bad and testdata/lint")

// wantPrefix begins the lines, at the end of a test file, that list what is
// wrong with it: everything, in order.
const wantPrefix = "# want: "

// problemFile is one file, or one folder, of testdata.
type problemFile struct {
	name  string
	files []policy.File
	want  []string
}

func problemFiles(t *testing.T, folder string) []problemFile {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var all []problemFile
	for _, entry := range entries {
		pf := problemFile{name: entry.Name()}
		paths := []string{filepath.Join(folder, entry.Name())}
		if entry.IsDir() {
			if paths, err = filepath.Glob(filepath.Join(paths[0], "*.yaml")); err != nil {
				t.Fatal(err)
			}
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text, want, _ := strings.Cut(string(data), wantPrefix)
			for _, line := range strings.Split(want, "\n"+wantPrefix) {
				if line = strings.TrimSpace(line); line != "" {
					pf.want = append(pf.want, line)
				}
			}
			pf.files = append(pf.files, policy.File{Name: filepath.Base(path), Data: []byte(text)})
		}
		all = append(all, pf)
	}
	return all
}

// check compares what was reported with the want lines.
func (pf *problemFile) check(t *testing.T, folder string, problems policy.Problems) {
	t.Helper()
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	if *updateProblems {
		pf.update(t, folder, got)
		return
	}
	if strings.Join(got, "\n") != strings.Join(pf.want, "\n") {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(pf.want, "\n  "))
	}
}

// update writes the want lines to the last file.
func (pf *problemFile) update(t *testing.T, folder string, got []string) {
	t.Helper()
	last := pf.files[len(pf.files)-1]
	path := filepath.Join(folder, pf.name)
	if len(pf.files) > 1 {
		path = filepath.Join(path, last.Name)
	}
	text := string(last.Data)
	for _, line := range got {
		text += wantPrefix + line + "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func builtIn(t testing.TB) []policy.App {
	t.Helper()
	apps, err := catalogue.Apps()
	if err != nil {
		t.Fatal(err)
	}
	return apps
}

func errorsOnly(problems policy.Problems) policy.Problems {
	var errors policy.Problems
	for _, p := range problems {
		if p.Severity == policy.SeverityError {
			errors = append(errors, p)
		}
	}
	return errors
}

// TestBadPolicies: one file for each thing that can be wrong with a policy.
func TestBadPolicies(t *testing.T) {
	const folder = "testdata/bad"
	apps := builtIn(t)
	for _, pf := range problemFiles(t, folder) {
		t.Run(pf.name, func(t *testing.T) {
			doc, problems := policy.Parse(pf.files)
			problems = errorsOnly(append(problems, policy.Validate(doc, apps)...))
			problems.Sort(names(pf.files))
			if !problems.HasErrors() {
				t.Error("no errors")
			}
			pf.check(t, folder, problems)
		})
	}
}

// TestLint: policies that may be loaded, and what is doubtful about them on
// 1 April 2020.
func TestLint(t *testing.T) {
	const folder = "testdata/lint"
	apps := builtIn(t)
	now := time.Date(2020, 4, 1, 0, 0, 0, 0, time.UTC)
	for _, pf := range problemFiles(t, folder) {
		t.Run(pf.name, func(t *testing.T) {
			doc, problems := policy.Parse(pf.files)
			problems = append(problems, policy.Validate(doc, apps)...)
			if err := problems.Err(); err != nil {
				t.Fatal(err)
			}
			problems = append(problems, policy.Lint(doc, apps, now)...)
			problems.Sort(names(pf.files))
			pf.check(t, folder, problems)
		})
	}
}

func names(files []policy.File) []string {
	var all []string
	for _, f := range files {
		all = append(all, f.Name)
	}
	return all
}
