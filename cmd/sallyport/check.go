package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/policy"
)

// checkResult is what check has found.
type checkResult struct {
	OK       bool            `json:"ok"`
	Config   string          `json:"config,omitempty"`
	Policy   string          `json:"policy"`
	Revision string          `json:"revision,omitempty"`
	Errors   int             `json:"errors"`
	Warnings int             `json:"warnings"`
	Problems policy.Problems `json:"problems"`
}

func newCheck(p process) *cobra.Command {
	var (
		from   files
		strict bool
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say everything that is wrong with configuration and policy",
		Long: `Parse, validate and lint the configuration and the policy that it names, and
run the policy's own tests. Every problem is one line, file:line:col: message.
With --policy and without --config the policy alone is checked.`,
		Example: `  sallyport check --config configs/sallyport.yaml
  sallyport check --policy configs/policy.yaml --strict`,
		Args: flagsOnly,
		RunE: func(*cobra.Command, []string) error {
			result, err := check(&from)
			if err != nil {
				return err
			}
			result.OK = result.Errors == 0 && (!strict || result.Warnings == 0)
			return showCheck(p, result, asJSON)
		},
	}
	from.configFlag(cmd)
	from.policyFlag(cmd)
	cmd.Flags().BoolVar(&strict, "strict", false, "fail on warnings too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// check looks at everything before it judges: a mistake in the configuration
// does not hide one in the policy.
func check(from *files) (checkResult, error) {
	result := checkResult{Policy: from.policy}
	var config *gateway.Config
	if from.policy == "" || from.config != "" {
		path, err := from.findConfig()
		if err != nil {
			return result, err
		}
		result.Config = path
		named, problems := gateway.CheckConfig(path)
		result.Problems = append(result.Problems, problems...)
		config = named
	}
	if loaded := loadPolicy(config, &result.Policy); loaded != nil {
		result.Problems = append(result.Problems, loaded.All()...)
		if loaded.Program != nil {
			result.Revision = loaded.Program.Revision()
		}
	}
	for _, problem := range result.Problems {
		if problem.Severity == policy.SeverityError {
			result.Errors++
		} else {
			result.Warnings++
		}
	}
	return result, nil
}

// loadPolicy loads the policy at path, or the one that the configuration names
// where path is empty; it is nil where there is neither.
func loadPolicy(config *gateway.Config, path *string) *gateway.Loaded {
	switch {
	case config == nil && *path == "":
		return nil
	case config == nil:
		return gateway.LoadPolicy(*path, time.Now())
	case *path != "":
		config.Policy = *path
	}
	*path = config.Policy
	return config.LoadPolicy(time.Now())
}

func showCheck(p process, result checkResult, asJSON bool) error {
	code := exitOK
	if !result.OK {
		code = exitError
	}
	if asJSON {
		result.Problems = orEmpty(result.Problems)
		if err := printJSON(p.stdout, result); err != nil {
			return err
		}
		return status(code)
	}
	c := colours(p, p.stdout)
	printProblems(p.stdout, c, result.Problems)
	found := fmt.Sprintf("%s, %s", count(result.Errors, "error"), count(result.Warnings, "warning"))
	if !result.OK {
		return &failure{code: code, err: errors.New(found), hint: result.hint()}
	}
	fmt.Fprintf(p.stdout, "%s: %s\n", c.green("good"), found)
	if result.Config != "" {
		fmt.Fprintf(p.stdout, "An edit of the policy is in force at once; a change of %s needs a restart.\n", result.Config)
	}
	return nil
}

// hint says what the problems mean for a gateway that runs, or is to start.
func (r *checkResult) hint() string {
	if r.Errors == 0 {
		return "serve would start with these warnings; --strict does not let them pass"
	}
	return "mend the lines named above: until then serve does not start, and a running gateway " + r.meanwhile()
}

// meanwhile is what a gateway does that runs already: it never reads its configuration
// again, and takes no policy with a mistake in it.
func (r *checkResult) meanwhile() string {
	inConfig := func(p policy.Problem) bool {
		return p.Severity == policy.SeverityError && r.Config != "" && p.Position.File == r.Config
	}
	inPolicy := func(p policy.Problem) bool { return p.Severity == policy.SeverityError && !inConfig(p) }
	switch {
	case !slices.ContainsFunc(r.Problems, inConfig):
		return "keeps its last good policy"
	case !slices.ContainsFunc(r.Problems, inPolicy):
		return "goes on with the configuration that it was started with"
	default:
		return "goes on with the configuration that it was started with, and keeps its last good policy"
	}
}
