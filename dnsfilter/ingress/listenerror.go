package ingress

import "fmt"

// ListenError is why Open could not make one of the listeners, so that whoever
// configured it can be told which.
type ListenError struct {
	Transport Transport // UDP for the plain listeners, which are UDP and TCP
	Address   string    // as configured; empty where the certificate is what failed
	Err       error
}

// Error names the transport and the address, and says what failed.
func (e *ListenError) Error() string {
	what := "listen for DNS"
	if e.Transport.Encrypted() {
		what += " over " + e.Transport.String()
	}
	if e.Address != "" {
		what = fmt.Sprintf("%s on %q", what, e.Address)
	}
	return what + ": " + e.Err.Error()
}

// Unwrap is what failed.
func (e *ListenError) Unwrap() error { return e.Err }
