package proxy

import (
	"net/http"

	"go.uber.org/zap"
)

// mistaken counts and logs a mistake of ours that ended a connection or a
// tunnel. The function that recovered must call it: the stack is the panic's.
func (s *Server) mistaken(where string, mistake any) {
	s.metrics.panics.Inc()
	s.dependencies.Log.Error(where, zap.Any("panic", mistake), zap.Stack("stack"))
}

// abort is deferred where net/http would recover from a panic, and say so at a
// level that nobody reads. The request ends as it would have.
func (s *Server) abort() {
	mistake := recover()
	if mistake == nil {
		return
	}
	if mistake != http.ErrAbortHandler {
		s.mistaken("panic while serving a request", mistake)
	}
	panic(http.ErrAbortHandler)
}
