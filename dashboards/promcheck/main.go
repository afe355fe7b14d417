package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program: exit status 0 where every query holds, 1 where one does
// not, 2 where it could not be found out.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("promcheck", flag.ContinueOnError)
	flags.SetOutput(stderr)
	binary := flags.String("binary", "../../bin/sallyport", "the gateway that is run for its metrics")
	root := flags.String("root", "../..", "the repository")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	problems, checked, err := check(*binary, *root)
	if err != nil {
		fmt.Fprintln(stderr, "promcheck:", err)
		return 2
	}
	for _, p := range problems {
		fmt.Fprintln(stderr, p)
	}
	if len(problems) > 0 {
		fmt.Fprintf(stderr, "promcheck: %d problems in %d queries and names\n", len(problems), checked)
		return 1
	}
	fmt.Fprintf(stdout, "promcheck: %d queries and names hold\n", checked)
	return 0
}

// check collects what is wrong with everything that is shipped.
func check(binary, root string) (problems []string, checked int, err error) {
	page, err := readMetricsPage(filepath.Join(root, "docs", "metrics.md"))
	if err != nil {
		return nil, 0, err
	}
	families, err := liveMetrics(binary, page.names())
	if err != nil {
		return nil, 0, err
	}
	known := newKnowledge(families, page)
	c := &checker{known: known}
	c.comparePage(page)
	dashboards := filepath.Join(root, "dashboards")
	if err := errors.Join(
		c.rules(filepath.Join(dashboards, "rules.yaml")), // first: what it records is known from then on
		c.rules(filepath.Join(dashboards, "alerts.yaml")),
		eachFile(filepath.Join(dashboards, "*.json"), c.dashboard),
		eachFile(filepath.Join(dashboards, "tests", "*.yaml"), c.cases),
		c.pages(root),
	); err != nil {
		return nil, 0, err
	}
	if c.checked == 0 {
		return nil, 0, errors.New("there is nothing to check: is -root the repository?")
	}
	slices.Sort(c.problems)
	return slices.Compact(c.problems), c.checked, nil
}

// eachFile calls look with every file that fits a pattern; there must be one.
func eachFile(pattern string, look func(path string) error) error {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("no file is %s", pattern)
	}
	for _, path := range paths {
		if err := look(path); err != nil {
			return err
		}
	}
	return nil
}
