package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"time"
	_ "time/tzdata" // the play has a time zone, and the machine may have none
)

// playTimeout bounds the whole demo. It takes a few seconds.
const playTimeout = time.Minute

//go:embed policy.yaml
var memo []byte

func main() { os.Exit(run(memo, os.Stdout, os.Stderr)) }

// run plays the demo with a policy and gives the exit status: 0 only when every row is as the
// memo says.
func run(policy []byte, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithTimeout(context.Background(), playTimeout)
	defer cancel()
	fmt.Fprint(stdout, opening)
	rows, err := play(ctx, policy)
	wrong, printErr := printTable(stdout, rows)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "demo: %v\n", err)
	case printErr != nil:
		fmt.Fprintf(stderr, "demo: %v\n", printErr)
	case wrong > 0:
		fmt.Fprintf(stderr, "demo: %d of %d rows are not as the memo says\n", wrong, len(rows))
	default:
		return 0
	}
	return 1
}

const opening = `The memo: from March 28, 2020, 00:00 Pacific time, Zoom is off for all employees.
Priya, the liaison, may use it until April 3, 18:00. Microsoft Teams is approved.
One policy, two doors; launch.rockets.example is an alias of us04web.zoom.us.

`
