// Package pac writes proxy auto-configuration files from the policy: the small
// script that tells a browser which requests go to the proxy and which do not.
//
// [Plan] is the part that the policy and the settings decide: in mode all
// everything goes to the proxy, in mode judged what the rules for this client
// are about, and nothing else. [Plan.Script] adds what depends on how a client
// reached the portal. A [Maker] keeps plans, one for each set of rules, for as long
// as a revision of the policy is in force.
//
// A script shows a client names of rules that are for it already, and of no
// others. Rules that may come to be for it once it signs in at the proxy must hold
// too, so that what they name goes to the proxy as well: their names are given as
// short checksums, which many other names share. See docs/proxy-auto-configuration.md.
//
// The script is plain ECMAScript 3, since the engines that read it are old. It
// looks no name up: a browser stands still until a look-up returns.
//
// The package is pure, but for the Maker's memory: it opens no file and no socket
// and reads no clock.
package pac
