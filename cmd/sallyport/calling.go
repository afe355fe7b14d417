package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// How a command is called, and what is said to whoever calls it wrongly.

// flagsOnly is for commands that are told everything by flags. A file without one is
// the usual mistake.
func flagsOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	flag := "config"
	if cmd.Flags().Lookup("policy") != nil && filepath.Base(args[0]) != "sallyport.yaml" {
		flag = "policy"
	}
	if extension := filepath.Ext(args[0]); cmd.Flags().Lookup(flag) == nil || extension != ".yaml" && extension != ".yml" {
		return fmt.Errorf("%s takes no argument, and %q is one", cmd.CommandPath(), args[0])
	}
	return fmt.Errorf("%s takes no argument: did you mean --%s %s?", cmd.CommandPath(), flag, args[0])
}

// needsCommand is what a command does that does nothing by itself.
func needsCommand(p process) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		fmt.Fprintln(p.stderr, strings.TrimSpace(cmd.UsageString()))
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		return fmt.Errorf("%s is to be followed by %s", cmd.CommandPath(), orList(names))
	}
}

// orList is names as a choice.
func orList(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// exactlyOne is the mistake of giving none of some flags, more than one, or one that
// is empty; nil where there is none.
func exactlyOne(cmd *cobra.Command, names ...string) error {
	given := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !cmd.Flags().Changed(name) })
	switch {
	case len(given) != 1:
		return fmt.Errorf("give exactly one of --%s", strings.Join(names, ", --"))
	case cmd.Flags().Lookup(given[0]).Value.String() == "":
		return fmt.Errorf("--%s is empty", given[0])
	default:
		return nil
	}
}
