//go:build !linux

package handover

// monotonic is nothing where there is no systemd.
func monotonic() (microseconds int64, ok bool) { return 0, false }
