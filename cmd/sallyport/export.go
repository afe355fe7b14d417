package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/firewall"
	"github.com/sallyport/sallyport/gateway"
)

func newExport(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "export",
		Short:   "Write the policy for other programs: packet filters",
		Example: `  sallyport export nftables --config configs/sallyport.yaml`,
		Args:    cobra.NoArgs,
		RunE:    needsCommand(p),
	}
	cmd.AddCommand(newExportNFTables(p))
	return cmd
}

// exportOptions are the flags of export nftables.
type exportOptions struct {
	files
	at     string
	tcp    bool
	strict bool
	asJSON bool
}

func newExportNFTables(p process) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "nftables",
		Short: "Write what the policy refuses by address as rules for nftables",
		Long: `Write a file for nft that refuses UDP, the media of meeting apps above all, to
the addresses that the policy refuses to everybody at a client's address. What
a packet filter cannot know is left out, and the file's head says what: users
who sign in, warnings that people continue past, apps without addresses.

A policy with dates or hours changes the file's content: its head says when.`,
		Example: `  sallyport export nftables --config configs/sallyport.yaml
  sallyport export nftables --policy configs/policy.yaml --strict > sallyport-apps.nft`,
		Args: flagsOnly,
		RunE: func(*cobra.Command, []string) error { return exportNFTables(p, &o) },
	}
	o.configFlag(cmd)
	o.policyFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&o.at, "at", "", "`time`, RFC 3339 with or without zone (default: now)")
	f.BoolVar(&o.tcp, "tcp", false, "refuse TCP too")
	f.BoolVar(&o.strict, "strict", false, "refuse also what is open to users who sign in, or past a warning: they can come by the proxy")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object, for other packet filters")
	return cmd
}

func exportNFTables(p process, o *exportOptions) error {
	path, loaded, err := o.loadPolicy()
	if err != nil {
		return err
	}
	if len(loaded.Failures) > 0 {
		return fail("sallyport test --policy "+path+" shows them",
			fmt.Errorf("%s fails %s of its own, so that serve would not load it", path, count(len(loaded.Failures), "test")))
	}
	settings := firewall.Settings{TCP: o.tcp, Strict: o.strict}
	if settings.SignIn, err = o.signIn(); err != nil {
		return err
	}
	if settings.At, err = o.when(loaded.Document.Location); err != nil {
		return err
	}
	plan := firewall.Make(loaded.Program, settings)
	if o.asJSON {
		return printJSON(p.stdout, plan)
	}
	if err := plan.WriteNFTables(p.stdout); err != nil {
		return fail("", err)
	}
	return nil
}

// signIn reports whether people can sign in at the proxy. Where no configuration
// says so, they may.
func (o *exportOptions) signIn() (bool, error) {
	if o.policy != "" && o.config == "" {
		return true, nil
	}
	path, err := o.findConfig()
	if err != nil {
		return false, err
	}
	config, problems := gateway.ReadConfig(path)
	if config == nil {
		return false, configFailure(path, problems)
	}
	return config.Proxy.UsersFile != "", nil
}

// when is the time that is asked about, in the policy's zone where it names none.
func (o *exportOptions) when(zone *time.Location) (time.Time, error) {
	if o.at == "" {
		return time.Now(), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, o.at, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("--at %q is not a time: write it as 2020-03-28, 2020-03-28T09:00 or 2020-03-28T09:00:00Z", o.at) // usage
}
