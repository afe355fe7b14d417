package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/console"
	"github.com/sallyport/sallyport/policy"
)

func newExplain(p process) *cobra.Command {
	var (
		from     files
		question console.Question
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "explain [flags] HOST[:PORT]",
		Short: "Say what a request would be told, and why",
		Long: `Ask the policy as a door would, and show the verdict and every rule that was
read on the way, with the first selector that did not fit.

The exit status is the verdict: 0 allow, 10 block, 11 warn.`,
		Example: `  sallyport explain --ip 10.4.7.7 us04web.zoom.us
  sallyport explain --ip 10.4.7.8 --user alice@corp.example --at 2020-04-01 zoom.us:443
  sallyport explain --group employees --door proxy --derived zoom.us vanity.corp.example`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("explain takes one HOST[:PORT], not %d", len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			question.Host = args[0]
			return explain(p, &from, question, asJSON)
		},
	}
	from.configFlag(cmd)
	from.policyFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&question.IP, "ip", "", "client `address`")
	f.StringVar(&question.User, "user", "", "user `name`, as after signing in")
	f.StringArrayVar(&question.Groups, "group", nil, "`name` of a policy group that the client is in; repeatable")
	f.StringVar(&question.Device, "device", "", "`name` or MAC address of the device")
	f.StringVar(&question.At, "at", "", "`time`, RFC 3339 with or without zone (default: now)")
	f.StringVar(&question.Door, "door", "", "`door` that asks, dns or proxy (default: proxy where a port is given)")
	f.StringArrayVar(&question.Derived, "derived", nil, "`host` that HOST leads to, a CNAME target or an address; repeatable")
	f.StringArrayVar(&question.Claimed, "claimed", nil, "`host` that the client says besides, SNI or Host header; repeatable")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func explain(p process, from *files, question console.Question, asJSON bool) error {
	path, loaded, err := from.loadPolicy()
	if err != nil {
		return err
	}
	if len(loaded.Failures) > 0 {
		complain(p, fmt.Sprintf("%s fails %s of its own, so that serve would not load it", path, count(len(loaded.Failures), "test")),
			"sallyport test --policy "+path)
	}
	x, err := question.Ask(loaded.Program, time.Now())
	if err != nil {
		return err // the question was put wrongly: usage
	}
	if asJSON {
		if err := printJSON(p.stdout, x); err != nil {
			return err
		}
		return status(verdictStatus(x.Verdict.Action))
	}
	showExplanation(p, x)
	return status(verdictStatus(x.Verdict.Action))
}

// verdictStatus is the exit status that says a verdict.
func verdictStatus(a policy.Action) int {
	switch a {
	case policy.ActionAllow:
		return exitOK
	case policy.ActionWarn:
		return exitWarn
	default:
		return exitBlock
	}
}

// showExplanation writes the verdict first, then what explains it.
func showExplanation(p process, x policy.Explanation) {
	c := colours(p, p.stdout)
	fmt.Fprintf(p.stdout, "%s by %s\n", c.bold(c.action(x.Action)), c.bold(x.Rule))
	w := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
	for _, row := range []struct{ name, value string }{
		{"app", x.App},
		{"group", x.Group},
		{"fact", x.Fact},
		{"reason", x.Reason},
		{"message", oneLine(x.Message)},
		{"alternatives", strings.Join(x.Alternatives, ", ")},
		{"ticket", x.Ticket},
		{"would", strings.TrimSpace(x.Would + " " + byRule(x.WouldRule))},
		{"until", x.NextEdge},
		{"policy", x.Revision},
	} {
		if row.value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", row.name, row.value)
		}
	}
	if x.NeedsUser {
		fmt.Fprintf(w, "  user\tsigning in could change this\n")
	}
	_ = w.Flush() // as for every print: where standard output is gone, nobody reads
	fmt.Fprintln(p.stdout)
	printTrace(p.stdout, c, x.Trace)
}

func byRule(name string) string {
	if name == "" {
		return ""
	}
	return "by " + name
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// printTrace writes the rules that were read, as a table. Colours are put on
// last, since they would count as width.
func printTrace(w io.Writer, c palette, trace []policy.Step) {
	width := len("rule")
	for _, step := range trace {
		width = max(width, len(step.Rule))
	}
	fmt.Fprintf(w, "  %s\n", c.faint(fmt.Sprintf("%-9s %-*s %s", "read", width, "rule", "because")))
	for _, step := range trace {
		mark := "-"
		switch {
		case step.Matched:
			mark = step.Action
		case step.Deferred != "":
			mark = "deferred"
		}
		line := fmt.Sprintf("%-9s %-*s %s", mark, width, step.Rule, step.Because)
		if step.Matched {
			line = c.bold(line)
		}
		fmt.Fprintf(w, "  %s\n", line)
	}
}
