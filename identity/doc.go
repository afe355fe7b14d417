// Package identity says who is asking: it turns a client's address, the
// credentials it shows, or what it has proven when it connected, into a
// [policy.Subject].
//
// A [Resolver] is made once and asked by both doors:
//
//	users, err := identity.LoadHtpasswd("users.htpasswd")
//	...
//	who := identity.New(identity.Config{Remember: time.Hour}, engine)
//	who.SetUsers(users)
//
//	who.ByAddr(client)                     // the DNS door
//	who.ByPeer(client, peer)               // the DNS door, over TLS
//	who.ByCredentials(client, credentials) // the proxy door
//
// The sources, weakest first, and the name each leaves in Identity.Source and
// so in the decision log:
//
//	none        there was no client address at all
//	network     the address alone; the policy's networks say which groups it is in
//	remembered  the address, and the user who last signed in from it at the proxy
//	path        the device whose signed id stands in the DNS-over-HTTPS path
//	certificate the devices, or the user, that a verified client certificate names
//	basic       a user name and password, checked against an htpasswd file
//
// Where a path or a certificate names no user and one is remembered at the
// address, the source names both: "certificate+remembered".
//
// # Devices
//
// A device shows which one it is when it connects, by a certificate or by a
// path such as /dns-query/laptop-17.ebdmzilshuv6sih7j5ela5wp64, whose end
// [DeviceKeys] has signed. Nobody can make the path of another device from its
// own; whoever gets hold of one can use it, though, as with a password. Names
// of devices are compared in the form of [policy.CanonicalDevice], so that
// neither case nor the way in which a MAC address is written matters.
//
// # Remembered users
//
// DNS carries no credentials, so a rule for a user could never hold at the DNS
// door. When Config.Remember is set, a user who signs in at the proxy from an
// address is taken to be the client at that address, at the DNS door, until the
// time has passed since the last request with credentials, until somebody else
// signs in from there, or until the user leaves the htpasswd file. At the proxy
// door, where a client can be asked, only its own credentials count.
//
// That is an inference, and it is wrong wherever several people share one
// address: behind NAT, on a terminal server, or behind another proxy. There
// the last one to sign in lends a name, and every exception that the name has,
// to everybody else. In such a network leave Remember at 0 and write the rules
// for those addresses by network; the proxy door still tells the people apart,
// because there every connection carries its own credentials. A mixed network
// (desks with an address each, and one shared host) wants Remember 0 as well:
// the resolver cannot see which address is shared.
//
// # Guessing
//
// A wrong password and an unknown user cost the same work and give the same
// error, so names cannot be listed. Failures are limited per client address
// (per /64 in IPv6), the number of bcrypt computations under way is limited to
// half of the CPUs, and a pair that was checked a moment ago, rightly or
// wrongly, is not computed again. Clients behind one NAT share one limit: a
// guesser among them can keep others from signing in anew for seconds, yet not
// those who are signed in, because their credentials are known already. A
// program that repeats one stale password uses up nothing.
package identity
