package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// printTable writes the rows, the time once for all rows that share it, and a
// last line that counts. It gives the number of rows that are wrong.
func printTable(w io.Writer, rows []row) (wrong int, err error) {
	var text bytes.Buffer
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "time\twho\twhat\tDNS door\tproxy door\twhy")
	fmt.Fprintln(t, "----\t---\t----\t--------\t----------\t---")
	var shown string
	for _, r := range rows {
		at := r.at.Format("Jan _2 15:04:05")
		if at == shown {
			at = ""
		} else {
			shown = at
		}
		fmt.Fprintln(t, strings.Join([]string{at, r.who, r.what, orDash(r.dns), r.proxy, r.why}, "\t"))
		if r.wrong != "" {
			wrong++
			fmt.Fprintln(t, "\t\t^ WRONG: "+r.wrong+"\t\t\t")
		}
	}
	_ = t.Flush() // a buffer takes everything
	fmt.Fprintf(&text, "\n%d of %d as the memo says\n", len(rows)-wrong, len(rows))
	for line := range strings.Lines(text.String()) {
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return wrong, fmt.Errorf("print the table: %w", err)
		}
	}
	return wrong, nil
}

// orDash marks a door that was not asked.
func orDash(word string) string {
	if word == "" {
		return "-"
	}
	return word
}
