package policy

import "bytes"

// Why a line of an adblock list is passed over.
const (
	skipCosmetic = "a cosmetic rule, which is for browsers"
	skipModifier = "an adblock rule with modifiers"
	skipBeyond   = "an adblock rule other than ||name^"
)

// readAdblock reads ||name^, without the @@ that made it an exception, and
// returns why it could not, or "". The rest of the adblock language is about
// parts of URLs and pages, which neither door sees.
func (b *listBuilder) readAdblock(rule []byte, flags uint32) (reason string) {
	rule, modifiers, _ := bytes.Cut(rule, []byte("$"))
	if len(modifiers) > 0 {
		return skipModifier
	}
	name, anchored := bytes.CutPrefix(rule, []byte("||"))
	name = bytes.TrimSuffix(name, []byte("|"))
	name, ended := bytes.CutSuffix(name, []byte("^"))
	if !anchored || !ended || len(name) == 0 || bytes.ContainsAny(name, "^|/?=") {
		return skipBeyond
	}
	if name[0] == '*' {
		return b.readWildcard(name, flags&(listBelow|listNotBelow))
	}
	return b.add(name, flags, 0)
}

// cosmeticRule reports whether a line hides parts of pages: a list of domains,
// a separator such as ## or #@#, and a selector.
func cosmeticRule(line []byte) bool {
	at := bytes.IndexByte(line, '#')
	if at < 0 {
		return false
	}
	for _, separator := range []string{"##", "#@#", "#?#", "#$#", "#%#", "#@?#", "#@$#"} {
		if bytes.HasPrefix(line[at:], []byte(separator)) {
			selector := line[at+len(separator):]
			return len(selector) > 0 && selector[0] != '#' && !isBlank(selector[0])
		}
	}
	return false
}
