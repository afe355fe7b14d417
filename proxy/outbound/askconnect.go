package outbound

import (
	"errors"
	"fmt"
	"net"
)

// askConnect asks an HTTP parent for a tunnel (RFC 9110 §9.3.6).
func (p *parent) askConnect(conn net.Conn, authority, via string) error {
	request := "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n"
	if !p.credentials.isZero() {
		request += "Proxy-Authorization: " + p.basic + "\r\n"
	}
	if via != "" {
		request += "Via: " + via + "\r\n"
	}
	if _, err := conn.Write([]byte(request + "\r\n")); err != nil {
		return p.broken(fmt.Errorf("ask for a tunnel: %w", err))
	}
	for range maxInterim {
		answer, err := p.answer(conn)
		if err != nil {
			return err
		}
		switch {
		case answer.status/100 == 2:
			return nil // any length that it announces means nothing (RFC 9110 §9.3.6)
		case answer.status/100 == 1 && answer.status != 101:
			continue
		default:
			return &ParentError{Parent: p.name, Answer: answer.String(), kind: answer.kind()}
		}
	}
	return p.broken(errors.New("it goes on without coming to an answer"))
}

// answer reads one answer. That none comes in time is no fault: the parent may
// be waiting for the destination.
func (p *parent) answer(conn net.Conn) (answerHead, error) {
	head, err := readHead(conn)
	if isTimeout(err) {
		return answerHead{}, err
	}
	if err != nil {
		return answerHead{}, p.broken(err)
	}
	answer, err := parseAnswerHead(head)
	if err != nil {
		return answerHead{}, p.broken(err)
	}
	return answer, nil
}

// isTimeout reports whether an error is that something did not come in time.
func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}
