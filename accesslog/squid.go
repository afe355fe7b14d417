package accesslog

import (
	"strconv"
	"strings"
)

// appendSquid appends an entry in Squid's native format.
func (f *form) appendSquid(line []byte, e *Entry) []byte {
	millis := e.End.UnixMilli()
	line = appendPadded(line, millis/1000, 9, ' ')
	line = append(line, '.')
	line = appendPadded(line, millis%1000, 3, '0')
	line = append(line, ' ')
	line = appendPadded(line, max(e.Duration, 0).Milliseconds(), 6, ' ')
	line = append(line, ' ')
	line = f.appendClient(line, e)
	line = append(line, ' ')
	line = append(line, e.Result.String()...)
	if e.Aborted {
		line = append(line, "_ABORTED"...)
	}
	line = append(line, '/')
	line = appendPadded(line, e.status(), 3, '0')
	line = append(line, ' ')
	line = strconv.AppendInt(line, e.Sent, 10)
	line = append(line, ' ')
	line = appendEncoded(line, cut(orHyphen(e.Method), maxWord))
	line = append(line, ' ')
	scheme, rest := loggedURL(e, f.keepQuery)
	line = appendEncoded(line, scheme)
	line = appendEncoded(line, rest)
	line = append(line, ' ')
	line = f.appendUser(line, e, appendSquidUser)
	line = append(line, ' ')
	line = appendHierarchy(line, e)
	line = append(line, ' ')
	return appendEncoded(line, orHyphen(mediaType(e.ContentType)))
}

// appendHierarchy appends whom Squid would have asked, and which address.
func appendHierarchy(line []byte, e *Entry) []byte {
	switch {
	case e.Parent:
		line = append(line, "FIRSTUP_PARENT/"...)
	case e.Server.IsValid():
		line = append(line, "HIER_DIRECT/"...)
	default:
		line = append(line, "HIER_NONE/"...)
	}
	return appendAddr(line, e.Server)
}

// mediaType is a Content-Type without its parameters.
func mediaType(contentType string) string {
	contentType = cut(contentType, maxWord)
	if i := strings.IndexAny(contentType, ";\t "); i >= 0 {
		return contentType[:i]
	}
	return contentType
}

// appendPadded appends a number that is not negative, right-aligned.
func appendPadded(line []byte, n int64, width int, pad byte) []byte {
	var digits [20]byte
	number := strconv.AppendInt(digits[:0], n, 10)
	for i := len(number); i < width; i++ {
		line = append(line, pad)
	}
	return append(line, number...)
}
