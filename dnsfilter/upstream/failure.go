package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// Kind is the manner of an Error. A later one tells more: it says that
// somebody was there.
type Kind uint8

// The kinds.
const (
	Timeout     Kind = iota // nothing came back
	Unreachable             // the network or the host said no
	Garbled                 // something came back that is no answer
	Refused                 // an error code came back
)

// String is the kind's name in metric labels.
func (k Kind) String() string {
	switch k {
	case Timeout:
		return "timeout"
	case Refused:
		return "refused"
	default:
		return "error"
	}
}

// resultOK is what Dependencies.Observe is told of a try that went well.
const resultOK = "ok"

// Error is why no upstream gave a usable answer: the most telling of all that
// went wrong. Immutable.
type Error struct {
	Kind Kind

	// Text may be shown to clients, as the EXTRA-TEXT of an Extended DNS Error
	// (RFC 8914 §2): it names no address.
	Text string

	// Said is the Extended DNS Error that the upstream gave with its error
	// code, if any: a validating resolver says there what it found wrong.
	Said *Explanation

	cause error
}

// Explanation is an Extended DNS Error in an upstream's own words (RFC 8914
// §2). Text is at most 200 bytes of valid UTF-8 without control characters.
type Explanation struct {
	Code uint16
	Text string
}

// Error returns e.Text: the addresses in its cause are for logs.
func (e *Error) Error() string { return e.Text }

// Unwrap returns what went wrong in the words of the system, or nil. It names
// addresses.
func (e *Error) Unwrap() error { return e.cause }

var (
	// ErrBusy is returned when Config.MaxInFlight queries are under way.
	ErrBusy = errors.New("too many upstream queries under way")

	// ErrClosed is returned once the Pool is closed.
	ErrClosed = errors.New("the upstream resolvers are closed")
)

// What sends a query from UDP to TCP.
var (
	errTruncated  = errors.New("the answer does not fit UDP")
	errSuspicious = errors.New("too many answers to something else")
	errLetterCase = errors.New("the answer does not repeat the question's letters")
)

// errCut is a connection's end under a query; errSilent is such an end that
// nobody declared.
var (
	errCut    = errors.New("the connection ended before the answer")
	errSilent = fmt.Errorf("%w: nothing is heard from it", errCut)
)

const textTimeout = "no upstream resolver answered in time"

func timedOut(cause error) *Error {
	return &Error{Kind: Timeout, Text: textTimeout, cause: cause}
}

func unreachable(cause error) *Error {
	return &Error{Kind: Unreachable, Text: "no upstream resolver can be reached", cause: cause}
}

func garbled(text string, cause error) *Error {
	return &Error{Kind: Garbled, Text: text, cause: cause}
}

func anotherQuestion() *Error {
	return garbled("an upstream resolver answered another question", nil)
}

func cutOff(cause error) *Error {
	return garbled("an upstream resolver cut its answer off", cause)
}

// refusedWith is the Error for a response code that is no answer.
func refusedWith(response *dns.Msg) *Error {
	code, known := dns.RcodeToString[response.Rcode]
	if !known {
		code = fmt.Sprintf("code %d", response.Rcode)
	}
	return &Error{Kind: Refused, Text: "an upstream resolver answered " + code, Said: explanationIn(response)}
}

func explanationIn(response *dns.Msg) *Explanation {
	opt := response.IsEdns0()
	if opt == nil {
		return nil
	}
	for _, o := range opt.Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok {
			return &Explanation{Code: e.InfoCode, Text: oneLine(e.ExtraText)}
		}
	}
	return nil
}

// oneLine makes a stranger's text fit to pass on.
func oneLine(s string) string {
	s = s[:min(len(s), dnswire.MaxExtraText)]
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// asError says of any error of a try what kind it is.
func asError(err error) *Error {
	var known *Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &certificate):
		return garbled("an upstream resolver did not prove its name", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), isTimeout(err):
		return timedOut(err)
	case errors.Is(err, errCut):
		return cutOff(err)
	default:
		return unreachable(err)
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
