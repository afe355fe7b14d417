package outbound

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// How a Dial ends: values of result labels.
const (
	resultOK          = "ok"
	resultCancelled   = "cancelled"
	resultTimeout     = "timeout"
	resultRefused     = "refused"
	resultUnreachable = "unreachable"
	resultError       = "error"
)

// Result is a word for how a Dial ended, fit for a metric's label: ok,
// cancelled, timeout, refused, unreachable or error.
func Result(err error) string {
	var network net.Error
	switch {
	case err == nil:
		return resultOK
	case errors.Is(err, context.Canceled):
		return resultCancelled
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout():
		return resultTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return resultRefused
	case errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH):
		return resultUnreachable
	default:
		return resultError
	}
}
