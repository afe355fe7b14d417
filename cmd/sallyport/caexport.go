package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// exportFormats are the forms in which computers take a certificate.
func exportFormats() []string { return []string{"pem", "der", "mobileconfig"} }

func newCAExport(p process) *cobra.Command {
	var path, format, output string
	cmd := &cobra.Command{
		Use:   "export --certificate FILE",
		Short: "Write an authority's certificate in the form that a computer wants",
		Long: `Write the certificate of an authority, and never its key, to standard output or
to a file that does not exist yet:

  pem           text, for Linux, Firefox and most programs
  der           binary, for Windows (save it as ca.cer) and Android
  mobileconfig  a configuration profile, for macOS and iOS`,
		Example: `  sallyport ca export --certificate ca.crt > /usr/local/share/ca-certificates/example.crt
  sallyport ca export --certificate ca.crt --format der --output ca.cer
  sallyport ca export --certificate ca.crt --format mobileconfig --output example.mobileconfig`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case path == "":
				return errors.New("--certificate FILE is missing: say which certificate")
			case !slices.Contains(exportFormats(), format):
				return fmt.Errorf("--format %q: use %s", format, strings.Join(exportFormats(), ", "))
			case format == "der" && output == "" && onTerminal(p.stdout):
				return errors.New("der is binary: name a file with --output")
			}
			certificate, err := readAuthority(path)
			if err != nil {
				return err
			}
			return export(p, encodeAuthority(certificate, format), output)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&path, "certificate", "", "`file` with the certificate")
	cmd.Flags().StringVar(&format, "format", "pem", "pem, der or mobileconfig")
	cmd.Flags().StringVarP(&output, "output", "o", "", "`file` to make (default: standard output)")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(exportFormats(), cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that does not exist
	return cmd
}

func encodeAuthority(c *x509.Certificate, format string) []byte {
	switch format {
	case "der":
		return c.Raw
	case "mobileconfig":
		return configurationProfile(c)
	default:
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
}

// export writes to standard output, or to a new file: a slip of the pen must
// not cost anybody a key.
func export(p process, data []byte, output string) error {
	if output == "" {
		if _, err := p.stdout.Write(data); err != nil {
			return fail("", fmt.Errorf("write the certificate: %w", err))
		}
		return nil
	}
	file, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fail("write to another file, or remove that one", fmt.Errorf("%s exists already", output))
	}
	if err != nil {
		return fail("", fmt.Errorf("write the certificate: %w", err))
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err != nil {
		return fail("", errors.Join(fmt.Errorf("write the certificate: %w", err), os.Remove(output)))
	}
	return nil
}
