package outbound

import (
	"io"
	"net/http"
	"sync"
)

// heldBody keeps a request's body for the next way: net/http closes a body also
// where it has not touched it. A nil one holds nothing.
type heldBody struct {
	io.ReadCloser

	mu     sync.Mutex
	held   bool
	read   bool
	closed bool // while it was held
}

// hold holds the body of r while there may be more than one way.
func hold(r *http.Request, ways int) *heldBody {
	if ways < 2 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	return &heldBody{ReadCloser: r.Body, held: true}
}

// Read reads as the body does.
func (b *heldBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.read = true
	b.mu.Unlock()
	return b.ReadCloser.Read(p)
}

// Close closes the body, once it is not held any more.
func (b *heldBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held {
		b.closed = true
		return nil
	}
	return b.ReadCloser.Close()
}

// touched reports whether something of the body may be gone.
func (b *heldBody) touched() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}

// release ends the holding.
func (b *heldBody) release() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = false
	if b.closed {
		_ = b.ReadCloser.Close()
	}
}
