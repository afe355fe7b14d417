package gateway

import (
	"fmt"
	"maps"

	"github.com/sallyport/sallyport/policy"
)

// tryList says why a list that was fetched anew must not replace the one in
// force: a test of the policy's own would fail with it. Put in force it would be
// refused as well; but the copy on disk would be the new one, so that the next
// edit would be refused too, and the gateway not start again. Whatever fails
// already, or is not in force yet, is no fault of the list's.
func (g *Gateway) tryList(source policy.ListSource, key string, list *policy.List) error {
	state := g.state.Load()
	if state == nil {
		return nil // New waits for its first lists
	}
	inForce := state.inForce
	if list == nil || !inForce.uses(key) || len(inForce.Document.Tests) == 0 {
		return nil
	}
	lists := maps.Clone(inForce.byName)
	lists[source.Name] = list
	program, problems := policy.Compile(inForce.Document, policy.Sources{
		Catalogue: inForce.catalogue,
		Lists:     lists,
		Revision:  inForce.Program.Revision(),
	})
	if program == nil || problems.HasErrors() {
		return problems.Err()
	}
	now := g.deps.Now()
	failures := program.RunTests(now)
	if len(failures) == 0 || len(inForce.Program.RunTests(now)) > 0 {
		return nil
	}
	return fmt.Errorf("with it the policy fails its own test at %s: %s", failures[0].Test.Position, failures[0].Message)
}

// uses reports whether the policy has a list by URL of that key.
func (l *Loaded) uses(key string) bool {
	for _, state := range l.Lists {
		if state.key == key {
			return true
		}
	}
	return false
}
