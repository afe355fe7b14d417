package dnsfilter

import "encoding/binary"

// lookupKey is what an answer depends on: the name, the type, and DO and CD,
// which change what an upstream says (RFC 4035 §3.2). Who asks is not part of
// it.
type lookupKey struct {
	name  string // lower-case wire form
	qtype uint16
	do    bool
	cd    bool
}

// The bits of a packed key's last byte.
const (
	keyDO = 1 << iota
	keyCD
)

// appendKey packs a key into bytes, which is how the cache and flights hold
// it: a reader of packets has the name as bytes and must not allocate.
func appendKey(dst, name []byte, qtype uint16, do, cd bool) []byte {
	dst = append(dst, name...)
	dst = binary.BigEndian.AppendUint16(dst, qtype)
	bits := byte(0)
	if do {
		bits |= keyDO
	}
	if cd {
		bits |= keyCD
	}
	return append(dst, bits)
}

// packed is the key as a string of bytes.
func (k lookupKey) packed() string {
	return string(appendKey(make([]byte, 0, len(k.name)+3), []byte(k.name), k.qtype, k.do, k.cd))
}

// unpackKey is the key that was packed.
func unpackKey(packed string) lookupKey {
	n := len(packed) - 3
	bits := packed[n+2]
	return lookupKey{
		name:  packed[:n],
		qtype: uint16(packed[n])<<8 | uint16(packed[n+1]),
		do:    bits&keyDO != 0,
		cd:    bits&keyCD != 0,
	}
}
