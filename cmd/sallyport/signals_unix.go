//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// upgradeSignal is SIGUSR2, which has a new process take over.
func upgradeSignal() <-chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	return signals
}
