package proxy

import (
	"errors"
	"syscall"

	"github.com/sallyport/sallyport/proxy/outbound"
)

// isElsewhere reports whether a request that was allowed came to nothing for a
// reason behind the proxy: a name that nobody can resolve, a server that is gone or
// silent, a parent that does not want to go there. A reason on this side is one
// that an admin of the proxy can mend: no resolver answers, a parent does not work
// or does not know us, the machine has run out.
func (x *exchange) isElsewhere(err error) bool {
	var resolving *resolveError
	var parent *outbound.ParentError
	switch {
	case errors.As(err, &parent):
		return parent.IsDestinations()
	case errors.As(err, &resolving):
		return resolving.none || x.server.dependencies.NamesFault(resolving.err)
	}
	return !isExhaustion(err)
}

// isExhaustion reports whether the machine had nothing left to connect with.
func isExhaustion(err error) bool {
	for _, lack := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, lack) {
			return true
		}
	}
	return false
}
