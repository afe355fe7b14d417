package accesslog

import (
	"cmp"
	"strconv"
)

const (
	apacheTime = "[02/Jan/2006:15:04:05 -0700]"
	statusGone = 499 // nginx's, for a client that left before it was answered
)

// appendCombined appends an entry in Apache's combined format.
func (f *form) appendCombined(line []byte, e *Entry) []byte {
	line = f.appendClient(line, e)
	line = append(line, " - "...)
	line = f.appendUser(line, e, appendApacheUser)
	line = append(line, ' ')
	line = e.begin().In(f.zone).AppendFormat(line, apacheTime)
	line = append(line, ` "`...)
	line = appendEscaped(line, cut(orHyphen(e.Method), maxWord), "%20")
	line = append(line, ' ')
	scheme, rest := loggedURL(e, f.keepQuery)
	line = appendEscaped(line, scheme, "%20")
	line = appendEscaped(line, rest, "%20")
	line = appendProtocol(line, e)
	line = append(line, `" `...)
	line = strconv.AppendInt(line, cmp.Or(e.status(), statusGone), 10)
	line = append(line, ' ')
	if e.SentBody > 0 {
		line = strconv.AppendInt(line, e.SentBody, 10)
	} else {
		line = append(line, '-')
	}
	line = append(line, ` "`...)
	// The page that led here was itself asked for: what is left out of its own
	// line must not come back in the next.
	scheme, rest = publicURL(orHyphen(e.Referer), f.keepQuery)
	line = appendEscaped(line, scheme, " ")
	line = appendEscaped(line, rest, " ")
	line = append(line, `" "`...)
	line = appendEscaped(line, cut(orHyphen(e.UserAgent), maxText), " ")
	return append(line, '"')
}

// appendApacheUser appends a user, with the one difference to Apache that a
// space, which would end the field, is escaped too.
func appendApacheUser(line []byte, user string) []byte { return appendEscaped(line, user, `\x20`) }

// appendProtocol appends the version of HTTP. Analysers want one, so that what
// came by another way gets the version in which it would have been a CONNECT.
func appendProtocol(line []byte, e *Entry) []byte {
	major, minor := e.Major, e.Minor
	if major == 0 && minor == 0 {
		major, minor = 1, 1
	}
	line = append(line, " HTTP/"...)
	line = strconv.AppendInt(line, int64(major), 10)
	line = append(line, '.')
	return strconv.AppendInt(line, int64(minor), 10)
}
