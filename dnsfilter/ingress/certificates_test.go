package ingress

import (
	"testing"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/internal/testpki"
	"github.com/sallyport/sallyport/servercert"
)

// serverFiles writes the certificate and the key of a server.
func serverFiles(t testing.TB, a *testpki.Authority) servercert.Files {
	t.Helper()
	certificate, key := a.ServerFiles(t)
	return servercert.Files{Certificate: certificate, Key: key}
}

func loadCertificates(t testing.TB, files servercert.Files) *servercert.Store {
	t.Helper()
	store, err := servercert.Load(files, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return store
}
