package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/gateway"
)

// maxReadiness bounds what is read of an answer, which names at most the
// problems of one policy.
const maxReadiness = 1 << 20

// healthResult is what a running gateway says of itself.
type healthResult struct {
	Address  string   `json:"address"` // that was asked
	Ready    bool     `json:"ready"`
	Problems []string `json:"problems"` // a ready gateway may have some too
}

func newHealth(p process) *cobra.Command {
	var (
		from    files
		address string
		timeout time.Duration
		asJSON  bool
	)
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the running gateway whether it is ready",
		Long: `Ask the admin listener of a running gateway whether it is ready: GET /readyz.
The exit status is 0 where a policy is in force and both doors are bound, and 1
where they are not, or nobody answers. It is the probe of container images,
which hold no other client.

With --address the configuration is not read, so that a mistake in an edit which
is not in force does not make a good gateway look bad.`,
		Example: `  sallyport health --config configs/sallyport.yaml
  sallyport health --address 127.0.0.1:9180 --timeout 1s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := healthFlags(cmd, address, timeout); err != nil {
				return err
			}
			if address == "" {
				configured, err := adminAddress(&from)
				if err != nil {
					return err
				}
				address = configured
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			result, err := askReadiness(ctx, address)
			if err != nil {
				return err
			}
			return showHealth(p, result, asJSON)
		},
	}
	from.configFlag(cmd)
	cmd.Flags().StringVar(&address, "address", "", "`host:port` of the admin listener (default: admin.listen of the configuration)")
	cmd.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "`time` that the answer may take")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// healthFlags is what is wrong with the flags of health.
func healthFlags(cmd *cobra.Command, address string, timeout time.Duration) error {
	flags := cmd.Flags()
	switch {
	case flags.Changed("config") && flags.Changed("address"):
		return errors.New("give --config or --address, not both")
	case timeout <= 0:
		return fmt.Errorf("--timeout %s leaves no time for an answer: write it as 3s", timeout)
	case !flags.Changed("address"):
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if n, errPort := strconv.ParseUint(port, 10, 16); err != nil || errPort != nil || n == 0 || strings.Contains(address, "/") {
		return fmt.Errorf("--address %q is not host:port: write it as 127.0.0.1:9180", address)
	}
	return nil
}

// adminAddress is where the configured gateway's admin listener can be asked.
func adminAddress(from *files) (string, error) {
	path, err := from.findConfig()
	if err != nil {
		return "", fail("name one with --config, or the admin listener with --address", errors.Unwrap(err))
	}
	config, problems := gateway.ReadConfig(path)
	if config == nil {
		return "", configFailure(path, problems)
	}
	listen := config.Admin.Listen
	if listen == "" {
		return "", fail("set admin.listen and start the gateway again", fmt.Errorf("%s switches the admin listener off", path))
	}
	if _, port, err := net.SplitHostPort(listen); err != nil || port == "0" {
		return "", fail("name it with --address: serve prints it as admin http",
			fmt.Errorf("%s has admin.listen %q, which does not say the port", path, listen))
	}
	return listen, nil
}

// askReadiness asks the admin listener at address; ctx bounds the whole of it.
// An address of no host, or an unspecified one, is this machine.
func askReadiness(ctx context.Context, address string) (healthResult, error) {
	// The name is one that every admin listener goes by, however it is bound.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/readyz", nil)
	if err != nil {
		return healthResult{}, fail("", fmt.Errorf("ask %q: %w", address, err))
	}
	request.Header.Set("Accept", "application/json")
	response, err := (&http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", address)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(request)
	if err != nil {
		return healthResult{}, fail("is the gateway running, and is that its admin.listen?",
			fmt.Errorf("ask %q whether it is ready: %w", address, errors.Unwrap(err)))
	}
	defer response.Body.Close()
	var said struct {
		Ready    *bool    `json:"ready"`
		Problems []string `json:"problems"`
	}
	err = json.NewDecoder(io.LimitReader(response.Body, maxReadiness)).Decode(&said)
	if ctx.Err() != nil {
		return healthResult{}, fail("--timeout gives it longer", fmt.Errorf("ask %q whether it is ready: %w", address, ctx.Err()))
	}
	if err != nil || said.Ready == nil {
		return healthResult{}, fail("name the admin listener with --address: serve prints it as admin http",
			fmt.Errorf("who answers at %q (%s) is no admin listener of sallyport", address, response.Status))
	}
	return healthResult{
		Address:  address,
		Ready:    *said.Ready && response.StatusCode == http.StatusOK,
		Problems: orEmpty(printable(said.Problems)),
	}, nil
}

// printable takes out what a terminal would obey: whoever answers at an address
// may be anybody.
func printable(texts []string) []string {
	for i, text := range texts {
		texts[i] = strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) {
				return r
			}
			return '\ufffd'
		}, text)
	}
	return texts
}

func showHealth(p process, result healthResult, asJSON bool) error {
	code := exitOK
	if !result.Ready {
		code = exitError
	}
	if asJSON {
		if err := printJSON(p.stdout, result); err != nil {
			return err
		}
		return status(code)
	}
	if !result.Ready {
		return &failure{code: code, err: fmt.Errorf("not ready: %s", strings.Join(result.Problems, "; "))}
	}
	fmt.Fprintln(p.stdout, colours(p, p.stdout).green("ready"))
	for _, problem := range result.Problems {
		fmt.Fprintln(p.stdout, problem)
	}
	return nil
}
