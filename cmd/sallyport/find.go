package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/policy"
)

// usualConfigs are where a configuration is looked for when none is named.
func usualConfigs() []string {
	return []string{"sallyport.yaml", "configs/sallyport.yaml", "/etc/sallyport/sallyport.yaml"}
}

// files are the flags by which a command is told what to read.
type files struct {
	config string
	policy string
}

func (f *files) configFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.config, "config", "c", "",
		"configuration `file` (default: the first of "+strings.Join(usualConfigs(), ", ")+")")
	_ = cmd.MarkFlagFilename("config", "yaml") // fails only for a flag that does not exist
}

func (f *files) policyFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.policy, "policy", "p", "",
		"policy `file` or folder (default: what the configuration names)")
	_ = cmd.MarkFlagFilename("policy", "yaml") // as above
}

// findConfig is the configuration that was named, or the usual one.
func (f *files) findConfig() (string, error) {
	if f.config != "" {
		return f.config, nil
	}
	for _, path := range usualConfigs() {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
	}
	return "", fail("name one with --config",
		fmt.Errorf("there is no configuration: looked for %s", strings.Join(usualConfigs(), ", ")))
}

// loadPolicy loads the policy that was named, or the one that the configuration
// names, with what the gateway keeps for it; it has a program. A configuration
// with errors is one that serve would not start with, so what it names is not
// taken for the policy in use.
func (f *files) loadPolicy() (path string, loaded *gateway.Loaded, err error) {
	if f.policy != "" && f.config == "" {
		loaded = gateway.LoadPolicy(f.policy, time.Now())
		return f.policy, loaded, unusable(loaded, "--policy "+f.policy)
	}
	named, err := f.findConfig()
	if err != nil {
		return "", nil, fail("name a policy with --policy, or a configuration with --config", errors.Unwrap(err))
	}
	config, problems := gateway.ReadConfig(named)
	if config == nil {
		return "", nil, configFailure(named, problems)
	}
	flags := "--config " + named
	if f.policy != "" {
		config.Policy = f.policy
		flags += " --policy " + f.policy
	}
	loaded = config.LoadPolicy(time.Now())
	return config.Policy, loaded, unusable(loaded, flags)
}

// unusable is why nothing can be asked of a policy that was loaded with these
// flags; nil where it can.
func unusable(loaded *gateway.Loaded, flags string) error {
	err := loaded.Err()
	switch {
	case err == nil:
		return nil
	case loaded.Problems.HasErrors():
		return fail("sallyport check "+flags+" shows warnings too", err)
	default: // lists that the configuration's gateway has not fetched
		return fail("sallyport serve fetches it: ask again once that is ready", err)
	}
}

// configFailure says everything that is wrong with a configuration.
func configFailure(path string, problems policy.Problems) error {
	hint := fmt.Sprintf("mend the lines named above; sallyport check --config %s looks again", path)
	if len(problems) == 1 && problems[0].Line == 0 {
		hint = "name another file with --config"
	}
	return fail(hint, problems.Err())
}
