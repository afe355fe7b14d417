//go:build linux

// Command goproxy is the library of that name as it comes, with a list of names
// that it refuses: what the proxy door started from.
package main
