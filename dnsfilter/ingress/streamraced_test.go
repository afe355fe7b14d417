//go:build race

package ingress

// streamsRaced: under the race detector a pool forgets on purpose.
const streamsRaced = true
