//go:build !unix

package main

import "os"

// upgradeSignal is nothing where there is no such signal.
func upgradeSignal() <-chan os.Signal { return nil }
