// Command echo is the DNS door's UDP ingress with nothing behind it: every
// packet goes back as it came, but for the bit that makes it a response. What
// the door makes fewer a second than this is the price of DNS and policy; what
// this makes fewer than limit.c is the price of Go and of the ingress.
package main
