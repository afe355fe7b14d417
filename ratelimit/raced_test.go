//go:build race

package ratelimit

// raced says that the race detector makes everything ten times slower.
const raced = true
