package proxy

import (
	"bytes"
	"net/url"
)

// Bounds of the head of a plain request at the start of a tunnel.
const (
	maxClearLine   = 16 << 10
	maxClearMethod = 32
	maxClearNames  = 4
)

// clearReader finds the names in a plain HTTP/1 request at the start of a
// tunnel: its Host fields, and the host of its target where that is a whole URI
// or a CONNECT's authority (RFC 9112 §3.2). A browser opens WebSockets that are
// not encrypted in this way; so does whoever hopes that the host of the CONNECT
// serves another name as well. Only the first request of a tunnel is read.
// Each byte is looked at once, save for the first few of a line.
type clearReader struct {
	line   []byte // the start of a line whose end has not come
	inHead bool   // the request line has been read
	names  []string
}

// feed takes the next bytes and says how things stand, in the words of
// helloReader.
func (c *clearReader) feed(data []byte) helloState {
	for {
		piece, rest, whole := bytes.Cut(data, []byte("\n"))
		c.line = append(c.line, piece...)
		if len(c.line) > maxClearLine {
			return foreignOrBroken(c.unfinished() == helloForeign)
		}
		if !whole {
			return c.unfinished()
		}
		line := bytes.TrimRight(c.line, "\r")
		state := c.endLine(line)
		if state != helloPartial {
			return state
		}
		c.line, data = c.line[:0], rest
	}
}

// unfinished says whether a line without its end can still become a request.
// Methods are upper-case words wherever they are used; whatever begins otherwise
// must not be kept waiting for the end of a line that never comes.
func (c *clearReader) unfinished() helloState {
	if c.inHead || len(c.line) == 0 || string(c.line) == "\r" {
		return helloPartial
	}
	method, _, _ := bytes.Cut(c.line[:min(len(c.line), maxClearMethod+1)], []byte(" "))
	if len(method) > maxClearMethod || !isMethod(method) {
		return helloForeign
	}
	return helloPartial
}

func (c *clearReader) endLine(line []byte) helloState {
	if !c.inHead {
		if len(line) == 0 {
			return helloPartial // servers forgive empty lines ahead of a request
		}
		return c.requestLine(line)
	}
	if len(line) == 0 {
		return helloComplete
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !bytes.EqualFold(bytes.TrimSpace(name), []byte("Host")) {
		return helloPartial
	}
	return c.add(withoutPort(string(bytes.TrimSpace(value))))
}

// requestLine takes "method target HTTP/1.x"; anything else is another
// protocol's.
func (c *clearReader) requestLine(line []byte) helloState {
	words := bytes.Fields(line)
	if len(words) != 3 || !isMethod(words[0]) || !bytes.HasPrefix(words[2], []byte("HTTP/1.")) {
		return helloForeign
	}
	c.inHead = true
	target := string(words[1])
	if string(words[0]) == "CONNECT" {
		return c.add(withoutPort(target))
	}
	if uri, err := url.Parse(target); err == nil && uri.Host != "" {
		return c.add(uri.Hostname())
	}
	return helloPartial
}

func (c *clearReader) add(name string) helloState {
	if len(c.names) == maxClearNames {
		return helloBroken
	}
	c.names = append(c.names, name)
	return helloPartial
}

// isMethod reports whether text could be a request's method: letters in upper
// case, with - and _ between them.
func isMethod(text []byte) bool {
	for _, b := range text {
		if (b < 'A' || b > 'Z') && b != '-' && b != '_' {
			return false
		}
	}
	return len(text) > 0
}
