package proxy

import (
	"bytes"
	"errors"
)

// connectHead is the head of a CONNECT, as far as the door reads it.
type connectHead struct {
	target      string
	credentials string // value of Proxy-Authorization
	accept      string
	agent       string
	via         string
	minor       int  // of the version of HTTP: 0 or 1
	close       bool // the client wants to end the connection after an answer
}

// maxConnectFields bounds the header fields of a CONNECT. Browsers send five.
const maxConnectFields = 100

// connectWord begins a request that connectHead reads.
var connectWord = []byte("CONNECT ")

// parseConnect reads the head of a CONNECT, from the request line to the empty
// line, which data ends with. It is strict (RFC 9112 §2.2, §5): whatever may
// be read in two ways is refused, because somebody else may read it the other
// way.
func parseConnect(data []byte) (connectHead, error) {
	line, rest, err := cutLine(data)
	if err != nil {
		return connectHead{}, err
	}
	words := bytes.Split(line, []byte(" "))
	if len(words) != 3 || len(words[1]) == 0 {
		return connectHead{}, errors.New("the request line is not CONNECT host:port HTTP/1.1")
	}
	head := connectHead{target: string(words[1])}
	switch string(words[2]) {
	case "HTTP/1.1":
		head.minor = 1
	case "HTTP/1.0":
		head.close = true
	default:
		return connectHead{}, errors.New("the request line is not CONNECT host:port HTTP/1.1")
	}
	hosts := 0
	for fields := 0; ; fields++ {
		if line, rest, err = cutLine(rest); err != nil {
			return connectHead{}, err
		}
		if len(line) == 0 {
			break
		}
		if fields == maxConnectFields {
			return connectHead{}, errors.New("the request has too many header fields")
		}
		name, value, err := cutField(line)
		if err != nil {
			return connectHead{}, err
		}
		if isField(name, "host") {
			hosts++
		}
		if err := head.take(name, value); err != nil {
			return connectHead{}, err
		}
	}
	if hosts > 1 {
		return connectHead{}, errors.New("there are two Host fields")
	}
	return head, nil
}

// take keeps one header field, if it is one that matters.
func (h *connectHead) take(name, value []byte) error {
	switch {
	case isField(name, "content-length") || isField(name, "transfer-encoding"):
		if string(value) != "0" {
			return errors.New("a CONNECT has no content")
		}
	case isField(name, "proxy-authorization"):
		if h.credentials != "" {
			return errors.New("there are two Proxy-Authorization fields")
		}
		h.credentials = string(value)
	case isField(name, "accept"):
		if h.accept == "" {
			h.accept = string(value)
		}
	case isField(name, "via"):
		if h.via != "" {
			h.via += ", "
		}
		h.via += string(value)
	case isField(name, "user-agent"):
		h.agent = string(value)
	case isField(name, "connection") || isField(name, "proxy-connection"):
		for token := range bytes.SplitSeq(value, []byte(",")) {
			if bytes.EqualFold(bytes.TrimSpace(token), []byte("close")) {
				h.close = true
			}
		}
	}
	return nil
}

// cutLine cuts a line off data, without its end, which must be CR LF.
func cutLine(data []byte) (line, rest []byte, err error) {
	end := bytes.IndexByte(data, '\n')
	if end < 1 || data[end-1] != '\r' {
		return nil, nil, errors.New("a line of the request does not end with CR LF")
	}
	line = data[:end-1]
	if bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		return nil, nil, errors.New("a line of the request has a control character in it")
	}
	return line, data[end+1:], nil
}

// cutField cuts a header field into its name and its value.
func cutField(line []byte) (name, value []byte, err error) {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || !isToken(line[:colon]) {
		return nil, nil, errors.New("a header field has no proper name")
	}
	return line[:colon], bytes.Trim(line[colon+1:], " \t"), nil
}

// isField reports whether a field's name is the one given in lower case.
func isField(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// isToken reports whether text is a token (RFC 9110 §5.6.2).
func isToken(text []byte) bool {
	for _, c := range text {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0:
		default:
			return false
		}
	}
	return len(text) > 0
}
