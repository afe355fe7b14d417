package main

import (
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/authority"
)

func newCA(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Make and show the authority with which refusals are explained over HTTPS",
		Long: `A browser does not show why a proxy has refused an HTTPS site. With an authority
that the organisation's computers trust, the gateway answers for refused sites
itself, and shows the block page. It does so for refused sites only: what the
policy allows is never decrypted.

The authority is a certificate, which every computer is told to trust, and a key,
which stays with the gateway. It can be told at birth which names it may sign
for: clients then believe it for no others.`,
		Example: `  sallyport ca init --certificate ca.crt --key ca.key --policy policy.yaml
  sallyport ca show --certificate ca.crt
  sallyport ca export --certificate ca.crt --format der --output ca.cer`,
		Args: cobra.NoArgs,
		RunE: needsCommand(p),
	}
	cmd.AddCommand(newCAInit(p), newCAShow(p), newCAExport(p))
	return cmd
}

// readAuthority reads the certificate of an authority. No key is needed.
func readAuthority(path string) (*x509.Certificate, error) {
	certificate, err := authority.ReadCertificate(path)
	if err != nil {
		return nil, fail("sallyport ca init makes one", err)
	}
	return certificate, nil
}

// printAuthority describes an authority for people: rows of a name and a value.
func printAuthority(w io.Writer, a *authorityResult) {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("subject", "%s", a.Subject)
	if !a.SelfSigned {
		row("issuer", "%s", a.Issuer)
	}
	row("fingerprint", "SHA-256 %s", a.SHA256)
	row("key", "%s", a.Key)
	row("valid", "from %s to %s", a.NotBefore.Format(time.RFC3339), a.NotAfter.Format(time.RFC3339))
	if len(a.Permitted) == 0 {
		row("may sign for", "every name")
	} else {
		row("may sign for", "these, and everything under them:")
	}
	for _, name := range slices.Concat(a.Permitted, a.PermittedNetworks) {
		row("", "%s", name)
	}
	title := "never for"
	for _, name := range slices.Concat(a.Excluded, a.ExcludedNetworks) {
		row(title, "%s", name)
		title = ""
	}
	_ = table.Flush() // as for every print
}

// warn writes warnings for a person, one a line.
func warn(p process, warnings []string) {
	c := colours(p, p.stderr)
	for _, warning := range warnings {
		fmt.Fprintf(p.stderr, "%s %s\n", c.yellow("warning:"), warning)
	}
}

// onTerminal reports whether what is written goes to somebody's screen.
func onTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&fs.ModeCharDevice != 0
}
