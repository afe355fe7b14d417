package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/handover"
)

// The exit statuses that scripts may rely on.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
	exitBlock = 10 // explain: the verdict is block
	exitWarn  = 11 // explain: the verdict is warn
)

// process is what a command may touch of the world around it.
type process struct {
	stdout  io.Writer
	stderr  io.Writer
	hangup  <-chan os.Signal
	upgrade <-chan os.Signal // a new process is to take over; nil: never
	hurry   <-chan struct{}  // closed when a stop must not wait any longer; nil: never
	getenv  func(string) string

	// inherit takes over the sockets that the process was started with; nil:
	// there are none, and they cannot be handed on.
	inherit func() (*handover.Sockets, error)
}

// failure is an error that a command ran into, as opposed to a mistake in
// calling it: with what to do about it, and the exit status.
type failure struct {
	code int
	err  error  // nil: everything was said already
	hint string // what to do; may be empty
}

func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit status %d", f.code)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// fail makes the failure of a command that could not do its work.
func fail(hint string, err error) error { return &failure{code: exitError, err: err, hint: hint} }

// status ends a command that has said everything already.
func status(code int) error {
	if code == exitOK {
		return nil
	}
	return &failure{code: code}
}

// run is the whole program: it returns the exit status.
func run(ctx context.Context, args []string, p process) int {
	root := newRoot(p)
	root.SetArgs(args)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	called, err := root.ExecuteContextC(ctx)
	var failed *failure
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &failed):
		if failed.err != nil {
			complain(p, failed.err.Error(), failed.hint)
		}
		return failed.code
	default: // cobra's own: a flag, an argument or a command that does not exist
		complain(p, err.Error(), fmt.Sprintf("%s --help shows how it is called", called.CommandPath()))
		return exitUsage
	}
}

// complain writes an error, and what to do about it, for a person.
func complain(p process, message, hint string) {
	c := colours(p, p.stderr)
	fmt.Fprintf(p.stderr, "%s %s\n", c.red("error:"), message)
	if hint != "" {
		fmt.Fprintf(p.stderr, "%s %s\n", c.bold("hint:"), hint)
	}
}

func newRoot(p process) *cobra.Command {
	root := &cobra.Command{
		Use:   "sallyport",
		Short: "One policy, two doors: a gateway that decides which conferencing apps a network may use",
		Long: `sallyport keeps unapproved conferencing apps off a network, for the groups of
people that its policy names. One YAML policy guards two doors: a DNS resolver
and an HTTP proxy. Both always give the same verdict.`,
		Example: `  sallyport serve --config configs/sallyport.yaml
  sallyport explain --ip 10.4.7.7 us04web.zoom.us`,
		SilenceErrors: true, // run writes them, with a hint
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(
		newServe(p), newCheck(p), newTest(p), newExplain(p), newApps(p), newExport(p), newDevice(p), newCA(p), newPseudonym(p), newHealth(p),
		newVersion(p),
	)
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Args, cmd.RunE = cobra.NoArgs, needsCommand(p)
		}
	}
	return root
}
