//go:build race

package relay

// raceEnabled: the race detector makes sync.Pool forget.
const raceEnabled = true
