// Package privacy hides who somebody is from the logs: their address, their
// name and their devices are written as they are, as a pseudonym, or not at
// all.
//
//	mask := privacy.New(privacy.Config{
//		Extents: privacy.Extents{Client: privacy.Pseudonym, User: privacy.Pseudonym, Device: privacy.None},
//		Key: key, Rotate: 24 * time.Hour,
//	})
//	line, hidden := mask.AppendClient(line, address, at)
//	if !hidden {
//		line = address.AppendTo(line)
//	}
//
// # Pseudonyms
//
// A pseudonym is a letter for what it stands for, a hyphen and 16 hexadecimal
// digits: c-1f2e3d4c5b6a7988 for a client's address, u-… for a user, d-… for a
// device. No address and no usual name looks like that. Nothing is written
// where nothing is known.
//
// The digits are the first 64 bits of HMAC-SHA-256 (RFC 2104) over the kind and
// the canonical form of what is hidden: an address without zone and never
// IPv4-mapped, a user or a device as the policy compares them. A hash without a
// key would hide nothing, since all addresses of a network are quickly tried.
// The key is one of a period: HMAC-SHA-256 under the configured key over the
// period's length and number, where periods are counted from 1970 in UTC. So
//
//   - within a period one person has one pseudonym, in every log and at every
//     gateway that has the key, and what they did can be followed;
//   - what they did in two periods cannot be brought together by the pseudonym;
//   - who has the key can compute the pseudonym of a given person and period,
//     and, by trying all, whom a pseudonym stands for;
//   - without the key neither can be done, and once it is destroyed nobody can.
//
// This is pseudonymisation in the sense of Article 4(5) of the GDPR, with the
// key as the additional information that is kept apart. It is not anonymity:
// what somebody visits, and when, may tell who they are.
package privacy
