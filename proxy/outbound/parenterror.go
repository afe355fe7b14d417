package outbound

import (
	"fmt"
	"net/http"
)

// ParentError is what a parent proxy said in place of connecting. What a client
// may be told of it is in Status, ProxyStatus and Sentence; its text is for
// admins.
type ParentError struct {
	Parent string // its name in the configuration
	Answer string // what it said, such as "HTTP 403 Forbidden"; printable ASCII
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
)

// Error names the parent and what it said.
func (e *ParentError) Error() string {
	return fmt.Sprintf("parent proxy %q answered %s", e.Parent, e.Answer)
}

// Status is the HTTP status for the client: never the parent's own, which says
// something about us and not about the client.
func (e *ParentError) Status() int {
	if e.kind == kindTimeout {
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// ProxyStatus is the error type of RFC 9209 §2.3.
func (e *ParentError) ProxyStatus() string {
	switch e.kind {
	case kindCredentials:
		return "proxy_configuration_error"
	case kindUnreachable:
		return "destination_unavailable"
	case kindRefused:
		return "connection_refused"
	case kindTimeout:
		return "connection_timeout"
	default:
		return "http_request_denied"
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
	default:
		return "the next proxy refused the connection"
	}
}

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
	default:
		return resultDenied
	}
}

// fault is an error that says that a parent does not work, whatever the
// destination.
type fault struct{ err error }

// Error is the error's.
func (f *fault) Error() string { return f.err.Error() }

// Unwrap is the error.
func (f *fault) Unwrap() error { return f.err }
