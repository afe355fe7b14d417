package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/keyfile"
	"github.com/sallyport/sallyport/privacy"
)

// pseudonymResult is under what the logs hide somebody.
type pseudonymResult struct {
	Pseudonym string    `json:"pseudonym"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"` // exclusive
}

// person is who is looked for: one of them.
type person struct{ ip, user, device string }

func newPseudonym(p process) *cobra.Command {
	var (
		from   files
		who    person
		at     string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "pseudonym [flags]",
		Short: "Say under which pseudonym the logs hide somebody",
		Long: `Print the pseudonym that audit.privacy gives one person at one time, so that
their entries can be found where there is cause to look. It needs the key, and
works one way: from the person to the pseudonym.

A tunnel, and a grant, keep the pseudonym of the time at which they began.`,
		Example: `  sallyport pseudonym --ip 10.4.7.7
  sallyport pseudonym --config sallyport.yaml --user alice@corp.example --at 2020-03-28T09:00:00Z
  grep "$(sallyport pseudonym --ip 10.4.7.7 --at 2020-03-28)" decisions.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := exactlyOne(cmd, "ip", "user", "device"); err != nil {
				return err
			}
			result, warnings, err := lookUp(&from, who, at, time.Now())
			if err != nil {
				return err
			}
			warn(p, warnings)
			if asJSON {
				return printJSON(p.stdout, result)
			}
			fmt.Fprintln(p.stdout, result.Pseudonym)
			return nil
		},
	}
	from.configFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&who.ip, "ip", "", "client `address`")
	f.StringVar(&who.user, "user", "", "user `name`, as after signing in")
	f.StringVar(&who.device, "device", "", "`name` or MAC address of the device")
	f.StringVar(&at, "at", "", "`time`, RFC 3339; without zone in UTC, as in the log (default: now)")
	f.BoolVar(&asJSON, "json", false, "print one JSON object, with the period in which it holds")
	cmd.AddCommand(newPseudonymKey(p))
	return cmd
}

// lookUp is the pseudonym of somebody at a time, and why it may not be found.
func lookUp(from *files, who person, at string, now time.Time) (pseudonymResult, []string, error) {
	when, err := parseAt(at, now)
	if err != nil {
		return pseudonymResult{}, nil, err
	}
	address, err := who.address()
	if err != nil {
		return pseudonymResult{}, nil, err
	}
	path, config, err := from.readConfig()
	if err != nil {
		return pseudonymResult{}, nil, err
	}
	setting, extent := who.extent(config.Audit.Privacy)
	mask, err := maskOf(config, path, setting, extent)
	if err != nil {
		return pseudonymResult{}, nil, err
	}
	var warnings []string
	if extent != privacy.Pseudonym {
		warnings = append(warnings, fmt.Sprintf("%s has %s: %s, so that only logs which were written under another setting hold this pseudonym", path, setting, extent))
	}
	var text []byte
	switch {
	case who.user != "":
		text, _ = mask.AppendUser(nil, who.user, when)
	case who.device != "":
		text, _ = mask.AppendDevice(nil, who.device, when)
	default:
		text, _ = mask.AppendClient(nil, address, when)
	}
	result := pseudonymResult{Pseudonym: string(text)}
	result.From, result.To = mask.Period(when)
	return result, warnings, nil
}

// extent is what the configuration says of the field by which somebody is looked for.
func (w *person) extent(e privacy.Extents) (setting string, extent privacy.Extent) {
	switch {
	case w.user != "":
		return "audit.privacy.user", e.User
	case w.device != "":
		return "audit.privacy.device", e.Device
	default:
		return "audit.privacy.client", e.Client
	}
}

// address is the client's, where it is by one that somebody is looked for.
func (w *person) address() (netip.Addr, error) {
	if w.user != "" || w.device != "" {
		return netip.Addr{}, nil
	}
	address, err := netip.ParseAddr(w.ip)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("--ip %q is not an address: write it as 10.4.7.7 or fd00::7", w.ip)
	}
	return address, nil
}

// readConfig is the configuration, and where it is.
func (f *files) readConfig() (string, *gateway.Config, error) {
	path, err := f.findConfig()
	if err != nil {
		return "", nil, err
	}
	config, problems := gateway.ReadConfig(path)
	if config == nil {
		return "", nil, configFailure(path, problems)
	}
	return path, config, nil
}

// maskOf is that of the configuration's gateway, with pseudonyms for everything:
// older logs may have hidden more than new ones do. The setting and its extent are
// those of whom it is for.
func maskOf(config *gateway.Config, path, setting string, extent privacy.Extent) (*privacy.Mask, error) {
	file := config.PseudonymKeyFile()
	key, err := privacy.ReadKey(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && extent != privacy.Pseudonym:
		return nil, fail("with audit.privacy: pseudonym a gateway writes pseudonyms from its next start on",
			fmt.Errorf("%s has %s: %s, and there is no pseudonym key %s: its logs hold no pseudonyms", path, setting, extent, file))
	case errors.Is(err, fs.ErrNotExist):
		return nil, fail("a gateway makes it that starts with audit.privacy: pseudonym; its own is in the state folder, of the user that it runs as",
			fmt.Errorf("there is no pseudonym key %s, so that there are no pseudonyms", file))
	case errors.Is(err, fs.ErrPermission):
		return nil, fail("run this as the user that the gateway runs as", err)
	case err != nil:
		return nil, fail("the key must be the file that the gateway runs with; for a new one, which finds nobody in older logs: sallyport pseudonym key --out FILE", err)
	}
	return privacy.New(privacy.Config{
		Extents: privacy.Extents{Client: privacy.Pseudonym, User: privacy.Pseudonym, Device: privacy.Pseudonym},
		Key:     key,
		Rotate:  config.Audit.Pseudonyms.Rotate,
	}), nil
}

// parseAt reads a time in any of RFC 3339's precisions.
func parseAt(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return now, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("--at %q is not a time: write it as 2020-03-28, 2020-03-28T09:00 or 2020-03-28T09:00:00Z", text)
}

func newPseudonymKey(p process) *cobra.Command {
	var (
		out    string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "key --out FILE",
		Short: "Make a file with a new key of pseudonyms",
		Long: `Make a file with one random key, readable for its owner only. Name it in
audit.pseudonyms.key, at every gateway whose logs are to be read together.
Without it a gateway makes a key of its own in its state folder.

Whoever has the key can tell whom a pseudonym stands for. Once it is destroyed,
nobody can.`,
		Example: `  sallyport pseudonym key --out pseudonym.key`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				return errors.New("--out FILE is missing: say where to write the key")
			}
			secret := keyfile.Random()
			if err := writeNewSecret(out, fmt.Sprintf("%x\n", secret), "what was written with its key could not be looked up any more",
				"write to another file; to replace a key, name the new one in audit.pseudonyms.key and restart"); err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.stdout, map[string]string{"file": out})
			}
			fmt.Fprintf(p.stdout, "%s holds a new key. Name it in audit.pseudonyms.key of sallyport.yaml.\n", out)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to make; it must not exist yet")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}
