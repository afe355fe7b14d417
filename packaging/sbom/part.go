package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
)

// part is something that a binary is made of: a module, or the standard library.
type part struct {
	path, version, sum string
	licence            string // SPDX expression
	texts              []text // that have to go with it
}

// text is a file that says what may be done with a part.
type text struct{ name, content string }

// legal are the files that say so, and what they are asked for: a licence, or
// whatever else has to go with the part.
var legal = regexp.MustCompile(`(?i)^((un)?licen[cs]e|copying|notice|patents)(\.(md|txt|rst))?$`)

// partsOf are the modules of a binary, by path, and the standard library at the end.
func partsOf(info *debug.BuildInfo) ([]part, error) {
	var parts []part
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		folder, err := moduleFolder(m.Path, m.Version)
		if err != nil {
			return nil, err
		}
		p, err := newPart(m.Path, m.Version, m.Sum, folder)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.path, b.path) })
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("ask where Go is: %w", err)
	}
	// As the vulnerability database names the standard library.
	std, err := newPart("stdlib", strings.TrimPrefix(info.GoVersion, "go"), "", strings.TrimSpace(string(root)))
	if err != nil {
		return nil, err
	}
	return append(parts, std), nil
}

// moduleFolder is where the Go command keeps a module; it fetches it where it is not
// there yet, and holds it against its checksum.
func moduleFolder(path, version string) (string, error) {
	out, err := exec.Command("go", "mod", "download", "-json", path+"@"+version).Output()
	var answer struct{ Dir, Error string }
	if json.Unmarshal(out, &answer) == nil && answer.Error != "" {
		return "", fmt.Errorf("fetch %s@%s: %s", path, version, answer.Error)
	}
	if err != nil {
		return "", fmt.Errorf("fetch %s@%s: %w", path, version, err)
	}
	return answer.Dir, nil
}

// newPart reads the licence of a part from its folder.
func newPart(path, version, sum, folder string) (part, error) {
	p := part{path: path, version: version, sum: sum}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return p, fmt.Errorf("look for the licence of %s: %w", path, err)
	}
	var kinds []string
	for _, entry := range entries {
		if entry.IsDir() || !legal.MatchString(entry.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return p, fmt.Errorf("read the licence of %s: %w", path, err)
		}
		p.texts = append(p.texts, text{entry.Name(), string(content)})
		if lower := strings.ToLower(entry.Name()); strings.HasPrefix(lower, "notice") || strings.HasPrefix(lower, "patents") {
			continue
		}
		found := kindsOf(string(content))
		if len(found) == 0 {
			return p, fmt.Errorf("%s of %s %s is no licence that packaging/sbom/licence.go knows: read it, and teach it that one", entry.Name(), path, version)
		}
		kinds = append(kinds, found...)
	}
	if len(kinds) == 0 {
		return p, fmt.Errorf("%s %s has no licence", path, version)
	}
	slices.Sort(kinds)
	p.licence = strings.Join(slices.Compact(kinds), " AND ")
	return p, nil
}
