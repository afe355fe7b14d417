package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

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

// findPolicy is the policy that was named, or the one that the configuration
// names. A configuration with errors is one that serve would not start with,
// so what it names is not taken for the policy in use.
func (f *files) findPolicy() (string, error) {
	if f.policy != "" {
		return f.policy, nil
	}
	path, err := f.findConfig()
	if err != nil {
		return "", fail("name a policy with --policy, or a configuration with --config", errors.Unwrap(err))
	}
	config, problems := gateway.ReadConfig(path)
	if config == nil {
		return "", configFailure(path, problems)
	}
	return config.Policy, nil
}

// configFailure says everything that is wrong with a configuration.
func configFailure(path string, problems policy.Problems) error {
	hint := fmt.Sprintf("mend the lines named above; sallyport check --config %s looks again", path)
	if len(problems) == 1 && problems[0].Line == 0 {
		hint = "name another file with --config"
	}
	return fail(hint, problems.Err())
}
