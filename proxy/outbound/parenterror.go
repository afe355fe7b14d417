package outbound

import (
	"fmt"
	"net/http"
)

// ParentError is why a destination was not reached through a parent proxy: what
// the parent said in place of connecting, or why it did not work. What a client
// may be told of it is in Status, ProxyStatus and Sentence; its text is for
// admins.
type ParentError struct {
	Parent string // its name in the configuration
	Answer string // what it said, such as "HTTP 403 Forbidden"; printable ASCII. Empty: it does not work
	Err    error  // why it does not work; nil where it has answered
	kind   answerKind
}

// answerKind sorts the answers of parents.
type answerKind uint8

const (
	kindDenied      answerKind = iota // it does not want to
	kindCredentials                   // it does not know us
	kindUnreachable                   // it could not
	kindRefused                       // it could not, because the destination refused
	kindTimeout                       // it could not in time
	kindBroken                        // it could not be reached, or does not speak its protocol
)

// Error names the parent, and what it said or what is wrong with it.
func (e *ParentError) Error() string {
	if e.kind == kindBroken {
		return fmt.Sprintf("parent proxy %q: %v", e.Parent, e.Err)
	}
	return fmt.Sprintf("parent proxy %q answered %s", e.Parent, e.Answer)
}

// Unwrap is why the parent does not work; nil where it has answered.
func (e *ParentError) Unwrap() error { return e.Err }

// Status is the HTTP status for the client: never the parent's own, which says
// something about us and not about the client.
func (e *ParentError) Status() int {
	if e.result() == resultTimeout {
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// ProxyStatus is the error type of RFC 9209 §2.3.
func (e *ParentError) ProxyStatus() string {
	switch e.result() {
	case resultCredentials:
		return "proxy_configuration_error"
	case resultRefused:
		return "connection_refused"
	case resultTimeout:
		return "connection_timeout"
	case resultDenied:
		return "http_request_denied"
	default:
		return "destination_unavailable"
	}
}

// Sentence is for the client, and names no part of the network.
func (e *ParentError) Sentence() string {
	switch e.kind {
	case kindCredentials:
		return "the next proxy does not let this one in; tell your administrator"
	case kindUnreachable:
		return "the next proxy could not reach the server"
	case kindRefused:
		return "the server refused the connection"
	case kindTimeout:
		return "the server did not answer in time"
	case kindBroken:
		return "the next proxy cannot be used at the moment"
	default:
		return "the next proxy refused the connection"
	}
}

// IsDestinations reports whether the parent works and knows us, and the destination
// is what was wrong: it could not be reached from there, or may not be.
func (e *ParentError) IsDestinations() bool { return e.kind != kindCredentials && e.kind != kindBroken }

// final reports whether no other way is to be tried: a parent that says no must
// not be gone round.
func (e *ParentError) final() bool { return e.kind == kindDenied || e.kind == kindCredentials }

// result is the word for a metric's label.
func (e *ParentError) result() string {
	switch e.kind {
	case kindCredentials:
		return resultCredentials
	case kindUnreachable:
		return resultUnreachable
	case kindRefused:
		return resultRefused
	case kindTimeout:
		return resultTimeout
	case kindBroken:
		return Result(e.Err)
	default:
		return resultDenied
	}
}

// broken is an error that is the parent's own fault, whatever the destination.
func (p *parent) broken(err error) *ParentError {
	return &ParentError{Parent: p.name, Err: err, kind: kindBroken}
}
