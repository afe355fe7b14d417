package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // policies name time zones, and a container may have none
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	// Whoever reads the decision log from standard output may go away: the
	// write then fails, and is counted. The gateway stays.
	signal.Ignore(syscall.SIGPIPE)
	code := run(ctx, os.Args[1:], process{
		stdout:    os.Stdout,
		stderr:    os.Stderr,
		hangup:    hangup,
		getenv:    os.Getenv,
		impatient: stop,
	})
	stop()
	os.Exit(code)
}
