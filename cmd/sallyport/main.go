package main

import (
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // policies name time zones, and a container may have none

	"github.com/sallyport/sallyport/handover"
)

func main() {
	ctx, hurry, release := stopSignals()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	// Whoever reads the decision log from standard output may go away: the
	// write then fails, and is counted. The gateway stays.
	signal.Ignore(syscall.SIGPIPE)
	code := run(ctx, os.Args[1:], process{
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		hangup:  hangup,
		upgrade: upgradeSignal(),
		hurry:   hurry,
		getenv:  os.Getenv,
		inherit: handover.Inherit,
	})
	release()
	os.Exit(code)
}
