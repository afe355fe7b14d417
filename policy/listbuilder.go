package policy

import (
	"bytes"
	"net/netip"
	"slices"
)

const (
	// firstSkips is how many places a report keeps.
	firstSkips = 10
	// skipText is how much of a skipped line a report keeps, in bytes.
	skipText = 80
	// pendingNames is how many names go into the table at a time.
	pendingNames = 32
)

// Why a line is passed over.
const (
	skipNotName    = "neither a name nor an address"
	skipOneLabel   = "a single label (write *.label to mean all under it)"
	skipEverything = "everything at once"
	skipWords      = "more than one word"
	skipRegexp     = "a regular expression"
)

// listBuilder gathers what the lines of a list say.
type listBuilder struct {
	format  listFormat
	names   *nameTable
	blocked []netip.Prefix
	allowed []netip.Prefix
	excepts bool // some name is excepted
	line    int  // the present one, counted from 1
	report  ListReport
	scratch [maxName]byte

	pending     []pendingName
	pendingText []byte
	touched     uint64 // keeps the compiler from leaving out what flush asks for first
}

// pendingName is a name on its way into the table.
type pendingName struct {
	hash  uint64
	flags uint32
	end   int // in pendingText; it begins where the one before ends
}

func newListBuilder(format listFormat, data []byte) *listBuilder {
	lines := bytes.Count(data, []byte("\n")) + 1
	names, nameBytes := format.guess(lines, len(data))
	b := &listBuilder{
		format: format,
		names:  newNameTable(names),
		report: ListReport{Format: format.String(), SkippedBy: map[string]int{}},
	}
	b.names.reserve(names, nameBytes)
	return b
}

// skip passes over the present line.
func (b *listBuilder) skip(reason string, line []byte) {
	b.report.Skipped++
	b.report.SkippedBy[reason]++
	if len(b.report.FirstSkipped) < firstSkips {
		b.report.FirstSkipped = append(b.report.FirstSkipped, ListSkip{
			Position: Position{Line: b.line},
			Reason:   reason,
			Text:     string(line[:min(len(line), skipText)]),
		})
	}
}

// add takes one name or address as people write it, and says what the list
// says of it. It returns why it could not, or "". minDots is 1 where a single
// label is more likely a mistake than a top-level domain.
func (b *listBuilder) add(text []byte, flags uint32, minDots int) (reason string) {
	name, dots, plain := b.plainName(text)
	if !plain {
		host, err := ParseHost(string(text))
		if err != nil {
			return skipNotName
		}
		if host.IsAddr() {
			return b.addAddress(text, flags)
		}
		name = append(b.scratch[:0], host.name...)
		dots = bytes.Count(name, []byte("."))
	}
	if dots < minDots {
		return skipOneLabel
	}
	b.addName(name, flags)
	return ""
}

// addName notes a canonical name.
func (b *listBuilder) addName(name []byte, flags uint32) {
	b.pendingText = append(b.pendingText, name...)
	b.pending = append(b.pending, pendingName{hash: hashOf(name), flags: flags, end: len(b.pendingText)})
	if len(b.pending) == pendingNames {
		b.flush()
	}
}

// flush puts the pending names into the table. The table is larger than the
// near caches and names come in no order, so that each would wait for memory
// in turn; asking for all their slots first lets them wait together.
func (b *listBuilder) flush() {
	for i := range b.pending {
		b.touched += b.names.slots[b.names.home(b.pending[i].hash)]
	}
	start := 0
	for _, p := range b.pending {
		if at, ok := b.names.entry(p.hash, b.pendingText[start:p.end]); ok {
			b.names.setValue(at, b.names.value(at)|p.flags)
		}
		b.excepts = b.excepts || p.flags&(listNotExact|listNotBelow) != 0
		start = p.end
	}
	b.pending, b.pendingText = b.pending[:0], b.pendingText[:0]
}

// addAddress takes an address or a network. Only the usual ways of writing one
// count: a bare number is more likely a counter that got into the list.
func (b *listBuilder) addAddress(text []byte, flags uint32) (reason string) {
	if flags&(listExact|listNotExact) == 0 {
		return skipNotName // what is under an address
	}
	text = bytes.TrimSuffix(bytes.TrimPrefix(text, []byte("[")), []byte("]"))
	if addr, err := netip.ParseAddr(string(text)); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return b.addNetwork(netip.PrefixFrom(addr, addr.BitLen()), flags)
	}
	if prefix, err := netip.ParsePrefix(string(text)); err == nil {
		return b.addNetwork(prefix, flags)
	}
	return skipNotName
}

func (b *listBuilder) addNetwork(prefix netip.Prefix, flags uint32) (reason string) {
	if prefix.Bits() == 0 {
		return skipEverything
	}
	if flags&listNotExact != 0 {
		b.allowed = append(b.allowed, prefix.Masked())
	} else {
		b.blocked = append(b.blocked, prefix.Masked())
	}
	return ""
}

// plainName reads a name in ASCII that is surely a name, and gives its
// canonical form in the scratch buffer. This is the path of nearly every line.
func (b *listBuilder) plainName(text []byte) (name []byte, dots int, ok bool) {
	text = bytes.TrimSuffix(text, []byte("."))
	if len(text) == 0 || len(text) > maxName {
		return nil, 0, false
	}
	label := 0
	for i, c := range text {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		switch {
		case isLabelByte(c):
			if i-label >= maxLabel {
				return nil, 0, false
			}
		case c == '.' && i > label:
			label = i + 1
			dots++
		default:
			return nil, 0, false
		}
		b.scratch[i] = c
	}
	// A last label that begins with a digit may make the whole an address.
	if label == len(text) || text[label] >= '0' && text[label] <= '9' {
		return nil, 0, false
	}
	return b.scratch[:len(text)], dots, true
}

// finish makes the list.
func (b *listBuilder) finish() (*List, ListReport) {
	b.flush()
	if b.excepts && b.format != listRPZ {
		b.exceptionsWin()
	}
	b.count()
	b.names.trim()
	list := &List{
		names:    b.names,
		networks: b.networks(),
		length:   b.report.Names + b.report.Networks,
	}
	return list, b.report
}

// count fills in the numbers of the report.
func (b *listBuilder) count() {
	b.names.each(func(at uint32, _ []byte) {
		flags := b.names.value(at)
		if flags&(listExact|listBelow) != 0 {
			b.report.Names++
		}
		if flags&(listNotExact|listNotBelow) != 0 {
			b.report.Exceptions++
		}
	})
	slices.SortFunc(b.blocked, netip.Prefix.Compare)
	slices.SortFunc(b.allowed, netip.Prefix.Compare)
	b.blocked, b.allowed = slices.Compact(b.blocked), slices.Compact(b.allowed)
	b.report.Networks = len(b.blocked)
	b.report.Exceptions += len(b.allowed)
}

// exceptionsWin takes the names out that an exception covers. Where the longest
// name decides, as List.find has it, an exception beats what is above it but
// not what is below; in adblock lists it beats both.
func (b *listBuilder) exceptionsWin() {
	excepted := newNameTable(0)
	b.names.each(func(at uint32, name []byte) {
		if b.names.value(at)&listNotBelow != 0 {
			excepted.entry(hashOf(name), name)
		}
	})
	b.names.each(func(at uint32, name []byte) {
		flags := b.names.value(at)
		if flags&listNotExact != 0 {
			flags &^= listExact
		}
		if flags&listNotBelow != 0 {
			flags &^= listBelow
		}
		if flags&(listExact|listBelow) != 0 && excepted.holdsAbove(name) {
			flags &^= listExact | listBelow
		}
		b.names.setValue(at, flags)
	})
}

// networks are the addresses that the list matches once exceptions are cut out:
// the longest prefix decides, or any exception where exceptions win.
func (b *listBuilder) networks() []netip.Prefix {
	exceptionsWin := b.format != listRPZ
	listed := func(chain []int32) uint32 {
		in := uint32(0)
		for _, i := range chain {
			switch {
			case int(i) < len(b.blocked):
				in = 1
			case exceptionsWin:
				return 0
			default:
				in = 0
			}
		}
		return in
	}
	return prefixesWhere(slices.Concat(b.blocked, b.allowed), listed)
}
