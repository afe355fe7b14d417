// Package keyfile keeps secrets of 32 bytes in files: 64 hexadecimal digits,
// which only their owner may read or write.
//
//	secret, err := keyfile.Make("coaching key", "state/coaching.key") // one that is ours to make
//	secret, err := keyfile.Read("coaching key", "/etc/gate.key")      // one that somebody else made
//
// 32 bytes is the size of the hashes that the keys are for, as RFC 2104 §3 asks.
package keyfile
