package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/policy"
	"github.com/sallyport/sallyport/policy/catalogue"
	"github.com/sallyport/sallyport/strictyaml"
)

// appResult is one app as JSON.
type appResult struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Vendor      string       `json:"vendor,omitempty"`
	Category    string       `json:"category"`
	DomainBlock string       `json:"domain_block,omitempty"`
	DomainNote  string       `json:"domain_block_note,omitempty"`
	Notes       string       `json:"notes,omitempty"`
	Domains     []factResult `json:"domains"`
	Networks    []factResult `json:"networks"`
	Ports       []factResult `json:"ports"`
}

// factResult is one name, prefix or port range of an app.
type factResult struct {
	Value  string `json:"value"`
	Role   string `json:"role,omitempty"`
	Source string `json:"source,omitempty"`
	Note   string `json:"note,omitempty"`
}

func newApps(p process) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "apps [ID]",
		Short: "Show the catalogue of apps, or one of them with its names, prefixes, ports and sources",
		Example: `  sallyport apps
  sallyport apps zoom`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := catalogue.Apps()
			if err != nil {
				return fail("", fmt.Errorf("read the built-in catalogue: %w", err))
			}
			if len(args) == 0 {
				return listApps(p, all, asJSON)
			}
			return showApp(p, all, args[0], asJSON)
		},
		ValidArgsFunction: completeApps,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func completeApps(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	all, err := catalogue.Apps()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for i := range all {
		ids = append(ids, all[i].ID+"\t"+all[i].Name)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

func listApps(p process, all []policy.App, asJSON bool) error {
	if asJSON {
		out := []appResult{}
		for i := range all {
			out = append(out, appOf(&all[i]))
		}
		return printJSON(p.stdout, out)
	}
	c := colours(p, p.stdout)
	idWidth, categoryWidth := len("id"), len("category")
	for i := range all {
		idWidth = max(idWidth, len(all[i].ID))
		categoryWidth = max(categoryWidth, len(all[i].Category))
	}
	row := func(id, category, names, prefixes, name string) string {
		return fmt.Sprintf("%-*s  %-*s  %5s  %8s  %s", idWidth, id, categoryWidth, category, names, prefixes, name)
	}
	fmt.Fprintln(p.stdout, c.faint(row("id", "category", "names", "prefixes", "name")))
	for i := range all {
		a := &all[i]
		fmt.Fprintln(p.stdout, row(a.ID, a.Category, fmt.Sprint(len(a.Domains)), fmt.Sprint(len(a.Networks)), a.Name))
	}
	return nil
}

func showApp(p process, all []policy.App, id string, asJSON bool) error {
	var ids []string
	for i := range all {
		if all[i].ID != id {
			ids = append(ids, all[i].ID)
			continue
		}
		if asJSON {
			return printJSON(p.stdout, appOf(&all[i]))
		}
		printApp(p, &all[i])
		return nil
	}
	hint := "sallyport apps lists them all"
	if near := strictyaml.Nearest(id, ids); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return fail(hint, fmt.Errorf("unknown app %q", id))
}

func appOf(a *policy.App) appResult {
	out := appResult{
		ID: a.ID, Name: a.Name, Vendor: a.Vendor, Category: a.Category,
		DomainBlock: a.DomainBlock, DomainNote: a.DomainBlockNote, Notes: a.Notes,
		Domains: []factResult{}, Networks: []factResult{}, Ports: []factResult{},
	}
	for _, d := range a.Domains {
		out.Domains = append(out.Domains, factResult{d.Text, d.Role, d.Source, d.Note})
	}
	for _, n := range a.Networks {
		out.Networks = append(out.Networks, factResult{n.Prefix.String(), n.Role, n.Source, n.Note})
	}
	for _, r := range a.Ports {
		out.Ports = append(out.Ports, factResult{Value: portText(r.PortRange), Source: r.Source})
	}
	return out
}

func portText(r policy.PortRange) string {
	text := fmt.Sprint(r.From)
	if r.To != r.From {
		text = fmt.Sprintf("%d-%d", r.From, r.To)
	}
	if r.Any {
		return text
	}
	return r.Protocol.String() + "/" + text
}

func printApp(p process, a *policy.App) {
	c := colours(p, p.stdout)
	out := appOf(a)
	fmt.Fprintf(p.stdout, "%s  %s\n", c.bold(out.ID), out.Name)
	w := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
	for _, row := range []struct{ name, value string }{
		{"vendor", out.Vendor},
		{"category", out.Category},
		{"stopped by names alone", strings.TrimSpace(out.DomainBlock + " " + inBrackets(oneLine(out.DomainNote)))},
		{"notes", oneLine(out.Notes)},
	} {
		if row.value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", row.name, row.value)
		}
	}
	_ = w.Flush() // as for every print
	printFacts(p.stdout, c, "names", out.Domains)
	printFacts(p.stdout, c, "prefixes", out.Networks)
	printFacts(p.stdout, c, "ports", out.Ports)
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

func printFacts(w io.Writer, c palette, title string, facts []factResult) {
	if len(facts) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", c.bold(title))
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, f := range facts {
		row := []string{"  " + f.Value, f.Role, f.Source, oneLine(f.Note)}
		for len(row) > 1 && row[len(row)-1] == "" {
			row = row[:len(row)-1] // an empty cell at the end would be padded
		}
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	_ = table.Flush() // as for every print
}
