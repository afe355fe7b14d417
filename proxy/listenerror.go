package proxy

// ListenError is a listener that could not be opened.
type ListenError struct {
	// Name is the listener's, as in Address.
	Name string

	// Address is what could not be bound; empty: the certificate is what is
	// wrong.
	Address string

	// Err is what went wrong.
	Err error
}

// Error says what could not be opened, and why.
func (e *ListenError) Error() string {
	if e.Address == "" {
		return e.Name + ": " + e.Err.Error()
	}
	return e.Name + ": listen on " + e.Address + ": " + e.Err.Error()
}

// Unwrap is what went wrong.
func (e *ListenError) Unwrap() error { return e.Err }
