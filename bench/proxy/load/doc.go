//go:build linux

// Command load makes a proxy work, and says how well it did. Everything that
// comes back is looked at: a wrong status, a byte that is not the one expected,
// an answer that is not whole.
//
//	load -part connect -proxy 127.0.0.1:13128 -backend 127.0.0.1:19000 -c 32 -l 3s
//
// Without -proxy it asks the backend itself. The parts:
//
//	connect   tunnels a second: opened, one byte there and back, closed
//	tls       the same with a TLS handshake and one GET inside
//	refuse    refusals a second, of names from a file, each read to its end
//	plain     GETs a second over kept connections
//	bulk      gigabytes a second through some tunnels, beside idle ones
//	idle      kilobytes and descriptors of a process for each idle tunnel
//	tunnel    how long a new tunnel takes when nothing else is asked
//	get       how long a GET over a kept connection takes then
//
// It prints one line of words and numbers that a shell may evaluate. rate is
// what the part counts, n how much was counted, failed how often it went wrong
// some way, wrong how often what came back was not what was expected, why the
// last of the reasons; p50 and p99 are microseconds.
package main
