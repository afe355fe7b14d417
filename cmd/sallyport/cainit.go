package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/authority"
)

const (
	defaultYears = 5
	maxYears     = 30

	// someNames is how many names are named in a line.
	someNames = 3
)

// caInit is what ca init was told.
type caInit struct {
	out           authority.Files
	from          files
	organisation  string
	years         int
	permit        []string
	unconstrained bool
	asJSON        bool
}

// madeAuthority is what ca init has made, as JSON.
type madeAuthority struct {
	Certificate string `json:"certificate"` // file
	KeyFile     string `json:"key_file"`
	authorityResult
}

func newCAInit(p process) *cobra.Command {
	var c caInit
	cmd := &cobra.Command{
		Use:   "init --certificate FILE --key FILE",
		Short: "Make an authority",
		Long: `Make an authority: an ECDSA P-256 key, readable for its owner only, and its
certificate. Files that exist are not touched.

What it may sign for is written into the certificate, and cannot be changed
afterwards. It is every name that the policy refuses (rules that block or warn,
with the names of their apps and categories), what --permit adds, and everything
under these names. The policy is the one named by --policy, or by the
configuration; with --permit alone, none is read.

An authority for every name comes of --unconstrained, of a policy that refuses
what cannot be listed (by default, by a list, by a pattern), and of no policy at
all. It is more dangerous: whoever gets its key can pass for every site.`,
		Example: `  sallyport ca init --certificate ca.crt --key ca.key
  sallyport ca init --certificate ca.crt --key ca.key --policy policy.yaml --organisation "Example Rockets"
  sallyport ca init --certificate ca.crt --key ca.key --permit zoom.us --permit zoom.com --years 2`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := c.check(); err != nil {
				return err
			}
			return c.run(p, time.Now())
		},
	}
	cmd.Flags().StringVar(&c.out.Certificate, "certificate", "", "`file` to make for the certificate")
	cmd.Flags().StringVar(&c.out.Key, "key", "", "`file` to make for the key")
	cmd.Flags().StringVar(&c.organisation, "organisation", "", "`name` in the certificate (default: the policy's organisation)")
	cmd.Flags().IntVar(&c.years, "years", defaultYears, "how long it is good for")
	cmd.Flags().StringArrayVar(&c.permit, "permit", nil, "`name` that it may sign for, with everything under it; repeatable")
	cmd.Flags().BoolVar(&c.unconstrained, "unconstrained", false, "let it sign for every name")
	cmd.Flags().BoolVar(&c.asJSON, "json", false, "print one JSON object")
	c.from.configFlag(cmd)
	c.from.policyFlag(cmd)
	return cmd
}

// check finds mistakes in the call.
func (c *caInit) check() error {
	switch {
	case c.out.Certificate == "":
		return errors.New("--certificate FILE is missing: say where to write the certificate")
	case c.out.Key == "":
		return errors.New("--key FILE is missing: say where to write the key")
	case c.out.Key == c.out.Certificate:
		return errors.New("--certificate and --key name the same file: name two")
	case c.years < 1 || c.years > maxYears:
		return fmt.Errorf("--years %d: an authority is good for 1 to %d years", c.years, maxYears)
	case c.unconstrained && (len(c.permit) > 0 || c.from.named()):
		return errors.New("--unconstrained goes with none of --permit, --policy and --config: it stands for every name")
	}
	return nil
}

// named reports whether a policy was named, rather than left to be found.
func (f *files) named() bool { return f.policy != "" || f.config != "" }

func (c *caInit) run(p process, now time.Time) error {
	options := authority.Options{
		Organisation:  c.organisation,
		Permit:        c.permit,
		Unconstrained: c.unconstrained,
		NotBefore:     now.Add(-time.Hour), // for computers whose clock is slow
		NotAfter:      now.AddDate(c.years, 0, 0),
	}
	warnings, err := c.territory(&options)
	if err != nil {
		return err
	}
	if strings.TrimSpace(options.Organisation) == "" {
		options.Organisation = "sallyport"
	}
	pair, err := authority.Create(options)
	if err != nil {
		return fail("sallyport ca init --help shows how it is called", err)
	}
	made, err := pair.Check()
	if err != nil {
		return fail("please report this", fmt.Errorf("the authority that was made is not good: %w", err))
	}
	if err := pair.Write(c.out); err != nil {
		return writeFailure(err)
	}
	result := madeAuthority{c.out.Certificate, c.out.Key, describeAuthority(made, now)}
	result.Warnings = append(result.Warnings, warnings...)
	if c.asJSON {
		return printJSON(p.stdout, result)
	}
	warn(p, result.Warnings)
	c.explain(p, &result)
	return nil
}

func writeFailure(err error) error {
	var file *fs.PathError
	if errors.Is(err, fs.ErrExist) && errors.As(err, &file) {
		return fail("write to other files: an authority that computers trust is not written over",
			fmt.Errorf("%s exists already", file.Path))
	}
	return fail("", err)
}

// territory finds out what the authority may sign for. The warnings say what
// that means.
func (c *caInit) territory(o *authority.Options) (warnings []string, err error) {
	for _, name := range c.permit {
		if !strings.ContainsAny(strings.TrimSuffix(name, "."), ".:") {
			warnings = append(warnings, fmt.Sprintf("--permit %s lets it sign for everything under %q", name, name))
		}
	}
	switch {
	case c.unconstrained, len(c.permit) > 0 && !c.from.named():
		return warnings, nil
	case !c.from.named() && !c.from.found():
		o.Unconstrained = true
		return []string{"there is no policy that would say what the authority has to sign for: name one with --policy, or the names with --permit"}, nil
	}
	path, loaded, err := c.from.loadPolicy()
	if err != nil {
		return nil, err
	}
	if o.Organisation == "" {
		o.Organisation = loaded.Program.Organisation().Name
	}
	reach := authority.ReachOf(loaded.Program.Document(), loaded.Program.Apps())
	switch {
	case len(c.permit) > 0:
		for _, reason := range reach.Wider {
			warnings = append(warnings, reason+": what it refuses so, and --permit does not name, is refused without a page")
		}
		o.Permit = append(reach.Names, c.permit...)
	case len(reach.Wider) > 0:
		for _, reason := range reach.Wider {
			warnings = append(warnings, "the authority may sign for every name, since "+reason+"; --permit makes it one for some names alone")
		}
		o.Unconstrained = true
	case len(reach.Names) == 0:
		return nil, fail("name what it is to sign for with --permit, or let it sign for every name with --unconstrained",
			fmt.Errorf("%s refuses no name at the proxy door", path))
	default:
		o.Permit = reach.Names
	}
	return warnings, nil
}

// found reports whether there is a configuration where one is looked for.
func (f *files) found() bool {
	_, err := f.findConfig()
	return err == nil
}

// explain says what was made, and what to do with it.
func (c *caInit) explain(p process, r *madeAuthority) {
	signs := "every name"
	if n := len(r.Permitted); n > 0 {
		signs = strings.Join(r.Permitted[:min(n, someNames)], ", ")
		if n > someNames {
			signs += fmt.Sprintf(" and %s: sallyport ca show --certificate %s lists them", count(n-someNames, "other name"), r.Certificate)
		}
	}
	fmt.Fprintf(p.stdout, `%[1]s  the certificate: computers are to trust it
%[2]s  the key, mode 0600: it stays with the gateway

subject      %[3]s
fingerprint  SHA-256 %[4]s
valid        to %[5]s
signs for    %[6]s

%[7]s
1. Name both in sallyport.yaml, and restart the gateway:
     proxy: {interception: {ca: %[1]s, key: %[2]s}}
2. Have computers trust the certificate: docs/interception.md says how, and the
   portal gives it out at /ca.crt. Compare the fingerprint.
`, r.Certificate, r.KeyFile, r.Subject, r.SHA256, r.NotAfter.Format(time.DateOnly), signs, colours(p, p.stdout).bold("Next"))
}
