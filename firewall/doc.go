// Package firewall says what a packet filter has to refuse, so that what goes
// past both doors meets the same policy: the media of a meeting app, which is
// UDP to addresses of its own.
//
// [Make] asks the policy about every range of addresses that it tells apart, for
// every range of clients that it tells apart, and gathers what it refuses into a
// [Plan]. The answers are those of the proxy door for a client of whom only the
// address is known: a packet filter knows no more. What it cannot know (who signs
// in, who continues past a warning, to which name an address belongs) is not
// guessed: [Plan.LeftOut] says so.
//
// [Plan.WriteNFTables] writes the plan as a file for nft.
//
// The package is pure: it opens no file and no socket and reads no clock.
package firewall
