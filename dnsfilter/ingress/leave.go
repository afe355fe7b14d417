package ingress

// Leave ends accepting, and reading by UDP, where another process has the same
// sockets and goes on. Connections may go on, too, until Stop; those of QUIC end,
// since they live in this process and the socket is one of both. Once all of them
// have ended, Serve returns. It does not wait for it.
func (s *Set) Leave() {
	for _, e := range s.endpoints {
		if in, ok := e.(*web); ok {
			in.leave()
			continue
		}
		e.Stop()
	}
}
