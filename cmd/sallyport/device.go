package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/identity"
	"github.com/sallyport/sallyport/policy"
)

// deviceResult is what there is to know of a device's id.
type deviceResult struct {
	Device    string   `json:"device"`
	ID        string   `json:"id"`
	URLs      []string `json:"urls"`
	Templates []string `json:"templates"` // RFC 8484 §4.1, with the variable dns
}

func newDevice(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Make the DNS-over-HTTPS addresses by which devices say who they are",
		Long: `A device that asks at https://NAME/dns-query/ID, with an id of its own, is known
to the policy by its name. Ids are signed: a device cannot make the id of
another one. Whoever has an id can use it, so treat the address as a secret of
the device; a client certificate is the stronger proof.`,
		Example: `  sallyport device key --out device.key
  sallyport device url --config sallyport.yaml laptop-17`,
		Args: cobra.NoArgs,
		RunE: needsCommand(p),
	}
	cmd.AddCommand(newDeviceKey(p), newDeviceURL(p), newDeviceVerify(p))
	return cmd
}

func newDeviceKey(p process) *cobra.Command {
	var (
		out    string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "key --out FILE",
		Short: "Make a file with a new key, which signs ids of devices",
		Long: `Make a file with one random key, readable for its owner only. Name it in
dns.https.device_key.

A file may hold several keys, one a line: the first signs, and all are good. To
replace a key, put the new line above the old one, give the devices their new
addresses, and then delete the old line.`,
		Example: `  sallyport device key --out device.key`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				return errors.New("--out FILE is missing: say where to write the key")
			}
			if err := writeNewSecret(out, identity.NewDeviceKey()+"\n", "devices may use its keys",
				"write to another file; to replace a key, put the new line above the old one"); err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.stdout, map[string]string{"file": out})
			}
			fmt.Fprintf(p.stdout, "%s holds a new key. Name it in dns.https.device_key of sallyport.yaml.\n", out)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to make; it must not exist yet")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func newDeviceURL(p process) *cobra.Command {
	var (
		from   files
		name   string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "url [flags] DEVICE",
		Short: "Print the DNS-over-HTTPS address of a device",
		Long: `Print the address at which a device asks over HTTPS, so that the policy knows it:
one line for each port of dns.https.listen. Where a program wants a URI
template (RFC 8484), add {?dns} to it; --json prints both.

A device has 1 to 63 letters, digits, dots, hyphens and underscores, or is a MAC
address. Capital letters are taken for small ones.`,
		Example: `  sallyport device url laptop-17
  sallyport device url --config sallyport.yaml --name dns.corp.example --json AA:BB:CC:DD:EE:FF`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			result, err := deviceURL(&from, name, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.stdout, result)
			}
			for _, url := range result.URLs {
				fmt.Fprintln(p.stdout, url)
			}
			return nil
		},
	}
	from.configFlag(cmd)
	cmd.Flags().StringVar(&name, "name", "", "`host`, or host:port, by which devices reach the gateway (default: dns.designated.name)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func deviceURL(from *files, name, device string) (deviceResult, error) {
	config, keys, err := from.deviceKeys()
	if err != nil {
		return deviceResult{}, err
	}
	id, err := keys.Sign(device)
	if err != nil {
		return deviceResult{}, fail("use the name that the policy has under devices", fmt.Errorf("%q cannot be the name of a device: %w", device, err))
	}
	authorities, err := httpsAuthorities(&config.DNS, name)
	if err != nil {
		return deviceResult{}, err
	}
	result := deviceResult{Device: policy.CanonicalDevice(device), ID: id}
	for _, authority := range authorities {
		url := "https://" + authority + config.DNS.HTTPSPath + "/" + id
		result.URLs = append(result.URLs, url)
		result.Templates = append(result.Templates, url+"{?dns}")
	}
	return result, nil
}

// httpsAuthorities are the host and port of URLs: of name, or of the designated
// name, at each port on which the gateway listens for HTTPS.
func httpsAuthorities(c *gateway.DNSConfig, name string) ([]string, error) {
	const hint = "write it with --name, as in --name dns.corp.example:443"
	if name == "" {
		name = c.Designated.Name
	}
	if name == "" {
		return nil, fail("name it in dns.designated.name, or with --name", errors.New("the configuration does not say by which name devices reach the gateway"))
	}
	if host, port, err := net.SplitHostPort(name); err == nil {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return nil, fail(hint, fmt.Errorf("port %q is not a number from 1 to 65535", port))
		}
		authority, err := authorityOf(host, port)
		return []string{authority}, err
	}
	var all []string
	seen := map[string]bool{}
	for _, address := range c.HTTPS.Listen {
		_, port, err := net.SplitHostPort(address)
		if err != nil || port == "0" || seen[port] {
			continue
		}
		seen[port] = true
		authority, err := authorityOf(name, port)
		if err != nil {
			return nil, err
		}
		all = append(all, authority)
	}
	if len(all) == 0 {
		return nil, fail(hint, errors.New("dns.https.listen names no port that devices could be told"))
	}
	return all, nil
}

// authorityOf is host and port as a URL has them: without a port that goes
// without saying.
func authorityOf(host, port string) (string, error) {
	parsed, err := policy.ParseHost(host)
	if err != nil {
		return "", fail("write the name in the gateway's certificate", fmt.Errorf("%q is neither a name nor an address: %w", host, err))
	}
	authority := net.JoinHostPort(parsed.String(), port)
	return strings.TrimSuffix(authority, ":443"), nil
}

func newDeviceVerify(p process) *cobra.Command {
	var (
		from   files
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "verify [flags] ID",
		Short: "Say which device an id, or an address with one, belongs to",
		Long: `Check an id, or a whole address that ends in one, against the keys of the
configuration, and print the device as the policy sees it. The exit status is 1
where no key has signed it.`,
		Example: `  sallyport device verify laptop-17.ebdmzilshuv6sih7j5ela5wp64`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			config, keys, err := from.deviceKeys()
			if err != nil {
				return err
			}
			id := strings.TrimSuffix(args[0], "{?dns}")
			device, ok := keys.Verify(id[strings.LastIndexByte(id, '/')+1:])
			if asJSON {
				if err := printJSON(p.stdout, map[string]any{"valid": ok, "device": device}); err != nil || ok {
					return err
				}
				return status(exitError)
			}
			if !ok {
				return fail("sallyport device url makes ids", fmt.Errorf("no key of %s has signed %q", config.DNS.DeviceKey, id))
			}
			fmt.Fprintln(p.stdout, device)
			return nil
		},
	}
	from.configFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// deviceKeys are the keys that the configuration names.
func (f *files) deviceKeys() (*gateway.Config, *identity.DeviceKeys, error) {
	path, err := f.findConfig()
	if err != nil {
		return nil, nil, err
	}
	config, problems := gateway.ReadConfig(path)
	if config == nil {
		return nil, nil, configFailure(path, problems)
	}
	if config.DNS.DeviceKey == "" {
		return nil, nil, fail("make a key with sallyport device key --out device.key, and name the file in dns.https.device_key",
			fmt.Errorf("%s has no device key, so that there are no ids of devices", path))
	}
	keys, err := identity.LoadDeviceKeys(config.DNS.DeviceKey)
	if err != nil {
		return nil, nil, fail(fmt.Sprintf("sallyport check --config %s shows every problem", path), err)
	}
	return config, keys, nil
}
