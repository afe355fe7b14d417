//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/sallyport/sallyport/bench/proxy/events"
)

var (
	endOfHead     = []byte("\r\n\r\n")
	contentLength = []byte("\r\ncontent-length:")
)

// head reads more of an answer's head into a slot. size is how long the head
// is, 0 while it is not whole.
func (s *slot) head() (status, size int, err error) {
	for {
		if end := bytes.Index(s.data[:s.n], endOfHead); end >= 0 {
			status, err := statusOf(s.data[:s.n])
			return status, end + len(endOfHead), err
		}
		if s.n == len(s.data) {
			return 0, 0, fmt.Errorf("%w: a head of more than %d bytes", errWrong, s.n)
		}
		n, err := events.Read(s.fd, s.data[s.n:])
		if errors.Is(err, events.ErrAgain) {
			return 0, 0, nil
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, 0, err
		}
		s.n += n
	}
}

// statusOf reads the status of "HTTP/1.1 200 OK".
func statusOf(head []byte) (int, error) {
	if len(head) < len("HTTP/1.1 200") || !bytes.HasPrefix(head, []byte("HTTP/1.")) {
		return 0, fmt.Errorf("%w: not the head of an answer: %.20q", errWrong, head)
	}
	status, err := strconv.Atoi(string(head[9:12]))
	if err != nil {
		return 0, fmt.Errorf("%w: status %q", errWrong, head[9:12])
	}
	return status, nil
}

// lengthOf is what a head says of its body; -1: it ends with the connection.
func lengthOf(head []byte) (int, error) {
	for from := 0; ; {
		i := bytes.IndexByte(head[from:], '\n')
		if i < 0 {
			return -1, nil
		}
		line := head[from+i-1:]
		if len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength) {
			line = line[len(contentLength):]
			value := bytes.TrimSpace(line[:bytes.IndexByte(line, '\r')])
			n, err := strconv.Atoi(string(value))
			if err != nil || n < 0 {
				return 0, fmt.Errorf("%w: length %q", errWrong, value)
			}
			return n, nil
		}
		from += i + 1
	}
}
