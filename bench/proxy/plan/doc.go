// Package plan is what the load generator and its backend agree on: where what
// listens, and what is sent.
package plan
