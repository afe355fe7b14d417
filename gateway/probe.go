package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/sallyport/sallyport/policy"
)

// probedName is a name that the DNS door knows itself, whatever is configured.
const probedName = "localhost"

// Probe finds out whether the gateway still does its work: it has who is at an
// address told, a request judged for each door and a name looked up, and asks
// the doors where they listen. It is for a watchdog: where one of these hangs, so
// does Probe, and where there is no policy or no door the error says so. A
// gateway that has too much to do is well. Nothing of it is recorded.
func (g *Gateway) Probe(ctx context.Context) error {
	if g.stopping.Load() {
		return nil
	}
	host, err := policy.ParseHost(probedName)
	if err != nil {
		return fmt.Errorf("probe the policy: %w", err)
	}
	subject := g.identity.ByAddr(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	for _, door := range []policy.Door{policy.DoorDNS, policy.DoorProxy} {
		request := policy.Request{Subject: subject, Door: door, At: g.deps.Now(), Host: host}
		if verdict := g.engine.Decide(&request); verdict.Revision == "" {
			return errors.New("no policy is in force")
		}
	}
	_, _ = g.dns.Resolve(ctx, probedName) // an error is an answer: busy, or about to stop
	if len(g.dns.Addrs()) == 0 || len(g.proxy.Addrs()) == 0 {
		return errors.New("a door is not open")
	}
	return nil
}
