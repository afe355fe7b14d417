//go:build !race

package ingress

const streamsRaced = false
