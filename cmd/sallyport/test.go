package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/policy"
)

// testResult is what test has found.
type testResult struct {
	OK       bool         `json:"ok"`
	Policy   string       `json:"policy"`
	Revision string       `json:"revision"`
	Tests    int          `json:"tests"`
	Failures []failedTest `json:"failures"`
}

// failedTest is one test that came out otherwise, with the way to the verdict.
type failedTest struct {
	policy.Position
	Message     string             `json:"message"`
	Explanation policy.Explanation `json:"explanation"`
}

func newTest(p process) *cobra.Command {
	var (
		from   files
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Run the policy's own tests",
		Long: `Run the tests that the policy brings along, by the code that decides, and show
for each failure which rules were read. A policy that fails its own tests is
not loaded.`,
		Example: `  sallyport test --policy configs/policy.yaml`,
		Args:    flagsOnly,
		RunE: func(*cobra.Command, []string) error {
			path, loaded, err := from.loadPolicy()
			if err != nil {
				return err
			}
			return showTest(p, path, loaded, asJSON)
		},
	}
	from.configFlag(cmd)
	from.policyFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func showTest(p process, path string, loaded *gateway.Loaded, asJSON bool) error {
	result := testResult{
		OK:       len(loaded.Failures) == 0,
		Policy:   path,
		Revision: loaded.Program.Revision(),
		Tests:    len(loaded.Document.Tests),
		Failures: []failedTest{},
	}
	for _, f := range loaded.Failures {
		result.Failures = append(result.Failures, failedTest{f.Test.Position, f.Message, f.Explanation})
	}
	code := exitOK
	if !result.OK {
		code = exitError
	}
	if asJSON {
		if err := printJSON(p.stdout, result); err != nil {
			return err
		}
		return status(code)
	}
	c := colours(p, p.stdout)
	for _, f := range result.Failures {
		fmt.Fprintf(p.stdout, "%s: %s %s\n", c.bold(f.Position.String()), c.red("failed:"), f.Message)
		printTrace(p.stdout, c, f.Explanation.Trace)
		fmt.Fprintln(p.stdout)
	}
	switch {
	case result.Tests == 0:
		fmt.Fprintf(p.stdout, "%s has no tests: a tests: section would keep the next edit from breaking it\n", path)
	case result.OK:
		fmt.Fprintf(p.stdout, "%s %s\n", count(result.Tests, "test"), c.green("passed"))
	default:
		fmt.Fprintf(p.stdout, "%d of %s %s\n", len(result.Failures), count(result.Tests, "test"), c.red("failed"))
	}
	return status(code)
}
