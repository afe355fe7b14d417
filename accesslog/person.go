package accesslog

import "time"

// begin is when an exchange began. Pseudonyms are those of its beginning, as in
// the decision log.
func (e *Entry) begin() time.Time { return e.End.Add(-max(e.Duration, 0)) }

// appendClient appends who asked, as far as it may be known.
func (f *form) appendClient(line []byte, e *Entry) []byte {
	before := len(line)
	line, hidden := f.mask.AppendClient(line, e.Client, e.begin())
	switch {
	case !hidden:
		return appendAddr(line, e.Client)
	case len(line) == before:
		return append(line, '-')
	default:
		return line
	}
}

// appendUser appends the name of who asked, as far as it may be known; plain
// appends it where it may.
func (f *form) appendUser(line []byte, e *Entry, plain func(line []byte, user string) []byte) []byte {
	before := len(line)
	line, hidden := f.mask.AppendUser(line, e.User, e.begin())
	switch {
	case !hidden:
		return plain(line, cut(orHyphen(e.User), maxWord))
	case len(line) == before:
		return append(line, '-')
	default:
		return line
	}
}
