package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// run does what the arguments say.
func run(args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return errors.New("say what to do: certificates, or build")
	}
	switch args[0] {
	case "certificates":
		pem, err := certificates()
		if err != nil {
			return err
		}
		_, err = stdout.Write(pem)
		return err
	case "build":
		r, err := readRelease(args[1:])
		if err != nil {
			return err
		}
		return r.build(stdout)
	default:
		return fmt.Errorf("unknown command %q: certificates and build are known", args[0])
	}
}

// release is what the flags of build say.
type release struct {
	version  string
	revision string
	created  time.Time
	out      string    // the folder to write to
	programs []program // one for each architecture, in the order of the flags
}

// program is the built binary for one architecture.
type program struct {
	architecture string // as GOARCH names it
	path         string
}

func readRelease(args []string) (release, error) {
	var r release
	flags := flag.NewFlagSet("image build", flag.ContinueOnError)
	flags.StringVar(&r.version, "version", "", "what `git describe` says")
	flags.StringVar(&r.revision, "revision", "", "commit")
	flags.StringVar(&r.out, "out", "", "`folder` to write to")
	flags.Func("created", "`seconds` since 1970 at which the commit was made: SOURCE_DATE_EPOCH", func(text string) error {
		seconds, err := strconv.ParseInt(text, 10, 64)
		r.created = time.Unix(seconds, 0).UTC()
		return err
	})
	flags.Func("program", "`ARCH=FILE`: a binary for Linux; once for each architecture", func(text string) error {
		architecture, path, ok := strings.Cut(text, "=")
		if !ok || architecture == "" || path == "" {
			return errors.New("want ARCH=FILE, such as arm64=dist/sallyport")
		}
		r.programs = append(r.programs, program{architecture, path})
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return r, err
	}
	switch {
	case flags.NArg() > 0:
		return r, fmt.Errorf("build takes flags only, not %q", flags.Args())
	case r.version == "" || r.revision == "" || r.out == "" || r.created.IsZero():
		return r, errors.New("build needs --version, --revision, --created and --out")
	case len(r.programs) == 0:
		return r, errors.New("build needs a --program")
	}
	return r, nil
}
