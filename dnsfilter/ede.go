package dnsfilter

import (
	"errors"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/dnsfilter/upstream"
)

// extendedErrorOf explains a failed lookup to clients. It is the one place
// where errors become EDE codes (RFC 8914 §4).
func extendedErrorOf(err error) dnswire.ExtendedError {
	var failure *upstream.Error
	switch {
	case errors.As(err, &failure):
		return explain(failure)
	case errors.Is(err, errBusy), errors.Is(err, errClosed), errors.Is(err, upstream.ErrBusy):
		return dnswire.Extended(dnswire.EDEOther, err.Error())
	default:
		return dnswire.Extended(dnswire.EDENoReachableAuthority, "no upstream resolver answered in time")
	}
}

// upstreamSaid reports whether a look-up ended with an upstream's error code. The
// upstream works, then: as a rule the name, or who serves it, does not.
func upstreamSaid(err error) bool {
	var failure *upstream.Error
	return errors.As(err, &failure) && failure.Kind == upstream.Refused
}

// explain is what clients are told of a failed lookup (RFC 8914 §4): in the
// upstream's own words where it gave any.
func explain(failure *upstream.Error) dnswire.ExtendedError {
	switch {
	case failure.Said != nil:
		return dnswire.Extended(failure.Said.Code, failure.Said.Text)
	case failure.Kind == upstream.Refused:
		return dnswire.Extended(dnswire.EDEOther, failure.Text)
	case failure.Kind == upstream.Garbled:
		return dnswire.Extended(dnswire.EDENetworkError, failure.Text)
	default:
		return dnswire.Extended(dnswire.EDENoReachableAuthority, failure.Text)
	}
}
