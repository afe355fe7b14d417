package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/sallyport/sallyport/policy"
)

// palette colours words where a terminal shows them, and leaves them alone
// elsewhere.
type palette struct{ on bool }

// colours are on for terminals, unless the user does not want them: see
// no-color.org.
func colours(p process, w io.Writer) palette {
	if p.getenv("NO_COLOR") != "" || p.getenv("TERM") == "dumb" {
		return palette{}
	}
	file, ok := w.(*os.File)
	if !ok {
		return palette{}
	}
	info, err := file.Stat()
	return palette{on: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

func (c palette) red(s string) string    { return c.wrap("31", s) }
func (c palette) green(s string) string  { return c.wrap("32", s) }
func (c palette) yellow(s string) string { return c.wrap("33", s) }
func (c palette) bold(s string) string   { return c.wrap("1", s) }
func (c palette) faint(s string) string  { return c.wrap("2", s) }

func (c palette) wrap(code, s string) string {
	if !c.on {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// action colours an action's name by what it means for the client.
func (c palette) action(name string) string {
	switch name {
	case policy.ActionAllow.String():
		return c.green(name)
	case policy.ActionBlock.String():
		return c.red(name)
	default:
		return c.yellow(name)
	}
}

// printJSON writes v as one indented object.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fail("", fmt.Errorf("write the result: %w", err))
	}
	return nil
}

// printProblems writes problems one a line, as editors and CI read them:
// file:line:col: message.
func printProblems(w io.Writer, c palette, problems policy.Problems) {
	for _, p := range problems {
		if place := p.Position.String(); place != "" {
			fmt.Fprintf(w, "%s: ", c.bold(place))
		}
		if p.Severity == policy.SeverityWarning {
			fmt.Fprintf(w, "%s ", c.yellow("warning:"))
		}
		fmt.Fprintln(w, p.Message)
	}
}

// orEmpty makes sure that JSON shows a list and not null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// count is a number with its noun, in the plural where that is right.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
