// Package coaching lets people past a warning: it signs the links at which
// they may continue, and keeps the grants that they get.
//
//	key, err := coaching.MakeKey("state/coaching.key") // or ReadKey, for a file of one's own
//	token, err := key.Seal(ticket)                     // for the refusal page
//	...
//	ticket, err := key.Open(token, now)                // of whoever presses the button
//	grant, added, err := store.Add(coaching.Grant{...})
//
// A [Ticket] is what the gateway said no to: to whom, by which rule, for which
// app and host. It travels in the link, signed, so that the gateway remembers
// nothing of refusals that nobody continues past. It proves that a refusal was
// shown, and grants nothing by itself: whoever takes it asks the policy again.
//
// A [Store] is the policy.Grants of an engine. It holds a bounded number of
// grants in memory, where a decision finds them without waiting and without
// allocation, and writes them to a journal on disk, off the data path, so that
// a restart keeps them. It has no timers: its owner asks when the next grant
// ends and sweeps then.
package coaching
