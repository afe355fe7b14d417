package dnsfilter

import "github.com/sallyport/sallyport/dnsfilter/ingress"

// ClientAuthorities reports, by transport ("tls", "https", "quic"), whether the
// files are good that say whose certificates clients must show: where they are
// not, those before still hold. Transports that want no certificate, and that
// do not listen, are not in it.
func (s *Server) ClientAuthorities() map[string]bool {
	s.mu.Lock()
	set := s.listeners
	s.mu.Unlock()
	if set == nil {
		return nil
	}
	good := map[string]bool{}
	for t := range ingress.TransportCount {
		if wanted, ok := set.ClientAuthorities(t); wanted {
			good[t.String()] = ok
		}
	}
	return good
}
