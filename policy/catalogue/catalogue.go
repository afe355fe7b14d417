package catalogue

import (
	"cmp"
	"embed"
	"fmt"
	"path"
	"slices"

	"github.com/sallyport/sallyport/policy"
)

//go:embed apps/*.yaml
var files embed.FS

const folder = "apps"

// Apps reads the built-in apps, sorted by id. Each call reads the embedded
// files anew and gives slices of its own: keep the result. An error means that
// the binary was built from a broken file, and lists every problem. Safe for
// concurrent use.
func Apps() ([]policy.App, error) {
	entries, err := files.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	var problems policy.Problems
	apps := make([]policy.App, 0, len(entries))
	for _, entry := range entries {
		name := path.Join(folder, entry.Name())
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read the catalogue: %w", err)
		}
		app, wrong := policy.ParseApp(policy.File{Name: "catalogue/" + entry.Name(), Data: data})
		problems = append(problems, wrong...)
		apps = append(apps, app)
	}
	if err := problems.Err(); err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	slices.SortFunc(apps, func(a, b policy.App) int { return cmp.Compare(a.ID, b.ID) })
	return apps, nil
}
