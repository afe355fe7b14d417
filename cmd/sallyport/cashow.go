package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/authority"
)

func newCAShow(p process) *cobra.Command {
	var (
		path   string
		from   files
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "show --certificate FILE",
		Short: "Show an authority: fingerprint, validity, what it may sign for",
		Long: `Show what is in the certificate of an authority. The key is not needed.

With --policy or --config it also says which names the policy refuses that the
authority may not sign for: whoever goes there over HTTPS is refused without a
page. Another authority, made after the policy, would cover them.`,
		Example: `  sallyport ca show --certificate ca.crt
  sallyport ca show --certificate ca.crt --policy policy.yaml --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if path == "" {
				return errors.New("--certificate FILE is missing: say which certificate")
			}
			certificate, err := readAuthority(path)
			if err != nil {
				return err
			}
			result := describeAuthority(certificate, time.Now())
			if err := result.compare(certificate, &from); err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.stdout, result)
			}
			printAuthority(p.stdout, &result)
			warn(p, result.Warnings)
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "certificate", "", "`file` with the certificate")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	from.configFlag(cmd)
	from.policyFlag(cmd)
	return cmd
}

// compare adds what a policy that was named refuses beyond the authority.
func (a *authorityResult) compare(certificate *x509.Certificate, from *files) error {
	if !from.named() {
		return nil
	}
	path, loaded, err := from.loadPolicy()
	if err != nil {
		return err
	}
	reach := authority.ReachOf(loaded.Program.Document(), loaded.Program.Apps())
	a.Beyond = reach.Beyond(certificate)
	if n := len(a.Beyond); n > 0 {
		a.Warnings = append(a.Warnings, fmt.Sprintf("%s refuses %s that it may not sign for, and that are refused without a page: %s",
			path, count(n, "name"), someOf(a.Beyond)))
	}
	if len(a.Permitted) > 0 {
		for _, reason := range reach.Wider {
			a.Warnings = append(a.Warnings, reason+": what it refuses so, and the authority may not sign for, is refused without a page")
		}
	}
	return nil
}

// someOf lists the first of many names.
func someOf(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
}
