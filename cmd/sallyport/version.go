package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/gateway"
)

// Set by the linker: -X main.version=v1.2.3 -X main.commit=0123456789ab.
var version, commit string

func newVersion(p process) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say what this is: version, revision, Go version",
		Example: "  sallyport version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := build()
			if asJSON {
				return printJSON(p.stdout, map[string]string{"version": b.Version, "revision": b.Commit, "go": b.Go})
			}
			fmt.Fprintf(p.stdout, "sallyport %s (revision %s, %s)\n", b.Version, b.Commit, b.Go)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// build says what is running: what the linker was told, or else what the Go
// command noted while building.
func build() gateway.Build {
	b := gateway.Build{Version: version, Commit: commit, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	if b.Commit == "" {
		b.Commit = commitOf(info)
	}
	return gateway.Build{Version: cmp.Or(b.Version, "unknown"), Commit: cmp.Or(b.Commit, "unknown"), Go: b.Go}
}

// commitOf is the commit that the Go command saw in the work tree.
func commitOf(info *debug.BuildInfo) string {
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case "vcs.modified":
			if s.Value == "true" {
				modified = "-modified"
			}
		}
	}
	if revision == "" {
		return ""
	}
	return revision + modified
}
