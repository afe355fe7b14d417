package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestHealthIsPrintable: who answers at an address may be anybody, and may not
// write what a terminal obeys.
func TestHealthIsPrintable(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"ready": true, "problems": ["\u001b[2Jé\nnew line\u009b"]}`)
	}))
	defer server.Close()
	result, err := askReadiness(t.Context(), server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if want := "\ufffd[2Jé\ufffdnew line\ufffd"; len(result.Problems) != 1 || result.Problems[0] != want {
		t.Errorf("problems %q, want %q", result.Problems, want)
	}
}
