package handover

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the process that takes over, too.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(playRole(role))
	}
	goleak.VerifyTestMain(m)
}
