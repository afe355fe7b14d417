package policy

import "bytes"

// listFormat is a way in which lists are written.
type listFormat uint8

// The formats. A line of domains, hosts or adblock shows by its own shape which
// it is, so that lists made of several sources are read whole; the format of
// the list says what a bare name means.
const (
	listDomains listFormat = iota // a bare name is the name and all under it
	listHosts                     // as in domains
	listAdblock                   // a bare name is the name alone
	listRPZ                       // a zone file
)

// String is the format's name in reports.
func (f listFormat) String() string {
	return [...]string{listDomains: "domains", listHosts: "hosts", listAdblock: "adblock", listRPZ: "rpz"}[f]
}

// spareBytes is what guess adds, since a last line may lack its end.
const spareBytes = 16

// guess is how many names, with how many bytes, to make room for: near enough
// for an ordinary list, so that building it takes little more memory than
// holding it.
func (f listFormat) guess(lines, size int) (names, nameBytes int) {
	overhead := 1 // the end of the line
	switch f {
	case listHosts:
		overhead = len("0.0.0.0 \n")
	case listAdblock:
		overhead = len("||^\n")
	case listRPZ:
		// Most feeds write each name twice, once with a star.
		lines, size = lines/2, size/2
		overhead = len("* CNAME .\n")
	}
	return lines, max(size-lines*overhead, 0) + spareBytes
}

// recogniseLines is how many lines that say something are looked at to
// recognise a format.
const recogniseLines = 1000

// recogniseList tells the format of a list by most of its first lines, and a
// zone file by any line that only zone files have.
func recogniseList(data []byte) listFormat {
	var votes [listRPZ + 1]int
	for seen := 0; len(data) > 0 && seen < recogniseLines; {
		var line []byte
		line, data = cutLine(data)
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || line[0] == ';' {
			continue
		}
		seen++
		format, certain := recogniseLine(line)
		if certain {
			return format
		}
		votes[format]++
	}
	best := listDomains
	for format, n := range votes {
		if n > votes[best] {
			best = listFormat(format)
		}
	}
	return best
}

// recogniseLine tells which format a line looks like, and whether no other can
// be meant.
func recogniseLine(line []byte) (format listFormat, certain bool) {
	first, rest := cutWord(line)
	if equalsWord(first, "$ORIGIN") || equalsWord(first, "$TTL") {
		return listRPZ, true
	}
	if bytes.HasPrefix(line, []byte("[Adblock")) || bytes.HasPrefix(line, []byte("[adblock")) {
		return listAdblock, true
	}
	if line[0] == '!' || line[0] == '|' || bytes.HasPrefix(line, []byte("@@")) || cosmeticRule(line) {
		return listAdblock, false
	}
	for word, after := cutWord(rest); len(word) > 0; word, after = cutWord(after) {
		switch {
		case equalsWord(word, "SOA"):
			return listRPZ, true
		case equalsWord(word, "CNAME"):
			return listRPZ, false
		case word[0] == '#':
			after = nil
		}
	}
	if len(rest) > 0 && rest[0] != '#' && hostsAddress(first) != notAddress {
		return listHosts, false
	}
	return listDomains, false
}

// readLines reads a list whose lines stand alone.
func (b *listBuilder) readLines(data []byte) {
	bare := uint32(listExact | listBelow)
	if b.format == listAdblock {
		bare = listExact
	}
	for len(data) > 0 {
		var line []byte
		line, data = cutLine(data)
		b.line++
		if name, dots, ok := b.plainName(line); ok && dots > 0 {
			b.addName(name, bare)
			continue
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if reason := b.readLine(line, bare); reason != "" {
			b.skip(reason, line)
		}
	}
}

// readLine reads a line that is not just a name, and returns why it is passed
// over, or "".
func (b *listBuilder) readLine(line []byte, bare uint32) (reason string) {
	if cosmeticRule(line) {
		return skipCosmetic
	}
	switch line[0] {
	case '#', ';', '!':
		return ""
	case '|':
		return b.readAdblock(line, listExact|listBelow)
	case '@':
		if exception, ok := bytes.CutPrefix(line, []byte("@@")); ok {
			return b.readAdblock(exception, listNotExact|listNotBelow)
		}
	case '[':
		if b.format == listAdblock {
			return "" // [Adblock Plus 2.0]
		}
	}
	first, rest := cutWord(line)
	if len(rest) > 0 && rest[0] != '#' && rest[0] != ';' {
		return b.readHosts(first, rest)
	}
	return b.readDomain(first, bare)
}

// cutLine splits off the first line, without its end.
func cutLine(data []byte) (line, rest []byte) {
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		return data, nil
	}
	line, rest = data[:end], data[end+1:]
	if end > 0 && line[end-1] == '\r' {
		line = line[:end-1]
	}
	return line, rest
}

// cutWord splits off the first word. The rest begins with the second.
func cutWord(line []byte) (word, rest []byte) {
	start := 0
	for start < len(line) && isBlank(line[start]) {
		start++
	}
	end := start
	for end < len(line) && !isBlank(line[end]) {
		end++
	}
	next := end
	for next < len(line) && isBlank(line[next]) {
		next++
	}
	return line[start:end], line[next:]
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// equalsWord compares with a word in capital letters, whatever the case.
func equalsWord(word []byte, capitals string) bool {
	return len(word) == len(capitals) && bytes.EqualFold(word, []byte(capitals))
}
