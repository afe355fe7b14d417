package outbound

import (
	"context"
	"errors"
	"syscall"
)

// How a Dial ends: values of result labels.
const (
	resultOK          = "ok"
	resultCancelled   = "cancelled"
	resultTimeout     = "timeout"
	resultRefused     = "refused"
	resultUnreachable = "unreachable"
	resultDenied      = "denied"      // by a parent
	resultCredentials = "credentials" // which a parent does not take
	resultError       = "error"
)

// Result is a word for how a Dial ended, fit for a metric's label: ok,
// cancelled, timeout, refused, unreachable, denied or credentials (by a parent
// proxy), or error.
func Result(err error) string {
	var said *ParentError
	switch {
	case err == nil:
		return resultOK
	case errors.As(err, &said):
		return said.result()
	case errors.Is(err, context.Canceled):
		return resultCancelled
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return resultTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return resultRefused
	case errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH):
		return resultUnreachable
	default:
		return resultError
	}
}
