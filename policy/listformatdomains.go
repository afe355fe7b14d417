package policy

import "bytes"

// readDomain reads one word of a list of domains: a name in one of the forms
// of the policy language, an address or a network. It returns why it could
// not, or "".
func (b *listBuilder) readDomain(word []byte, bare uint32) (reason string) {
	switch word[0] {
	case '=':
		return b.add(word[1:], listExact, 0)
	case '.':
		return b.add(word[1:], listExact|listBelow, 0)
	case '*':
		return b.readWildcard(word, listBelow)
	case '/':
		return skipRegexp
	}
	if bytes.IndexByte(word, '/') >= 0 || word[0] == '[' {
		return b.addAddress(word, bare)
	}
	return b.add(word, bare, 1)
}

// readWildcard reads *.name; flags say that all under the name is meant.
func (b *listBuilder) readWildcard(word []byte, flags uint32) (reason string) {
	if len(word) == 1 {
		return skipEverything
	}
	name, ok := bytes.CutPrefix(word, []byte("*."))
	if !ok {
		return skipNotName
	}
	return b.add(name, flags, 0)
}
