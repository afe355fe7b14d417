//go:build linux

// Command relay is a proxy with nothing in it, written as one does in Go: it
// reads a CONNECT, connects to the address in it, and copies with io.Copy, which
// moves bytes by splice(2). What the proxy door makes of less than this is the
// price of what it does; what this makes less than splice.c is the price of two
// goroutines a tunnel.
package main
