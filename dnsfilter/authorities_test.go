package dnsfilter

import (
	"testing"

	"github.com/sallyport/sallyport/policy"
)

// TestConnectionsLimitIsShown compares what is shown with what was set, and
// has a door without certificates name no authorities.
func TestConnectionsLimitIsShown(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), func(c *Config) { c.MaxConns = 77 })
	if limit := o.metric("sallyport_dns_connections_limit"); limit != 77 {
		t.Errorf("limit %v, want 77", limit)
	}
	if good := o.ClientAuthorities(); len(good) != 0 {
		t.Errorf("authorities of a door that asks nobody for a certificate: %v", good)
	}
}
