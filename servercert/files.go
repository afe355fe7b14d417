package servercert

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/sallyport/sallyport/secretmode"
)

// maxFile bounds one of the files, in bytes: a bundle of every public root has a
// quarter of it.
const maxFile = 1 << 20

// Files are PEM files: a certificate with its chain, its private key, and, where
// clients must have certificates of their own, those of the authorities that
// sign them.
type Files struct {
	Certificate string
	Key         string
	ClientCA    string // empty: clients need no certificate
}

// credentials is what the files held at one time.
type credentials struct {
	certificate tls.Certificate
	clientCAs   *x509.CertPool // nil: clients need no certificate
	files       []os.FileInfo  // as they were when they were read
}

// config is what a handshake with these goes by.
func (c *credentials) config(protocols []string) *tls.Config {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   protocols,
		Certificates: []tls.Certificate{c.certificate},
		// What is written together leaves in one record, and in one write.
		// Nobody waits for the rest of one: it is there already.
		DynamicRecordSizingDisabled: true,
	}
	if c.clientCAs != nil {
		config.ClientCAs = c.clientCAs
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config
}

// paths is the files that are set.
func (f Files) paths() []string {
	paths := []string{f.Certificate, f.Key}
	if f.ClientCA != "" {
		paths = append(paths, f.ClientCA)
	}
	return paths
}

// changed reports whether a file is not as it was, or not there.
func (f Files) changed(was []os.FileInfo) bool {
	for i, path := range f.paths() {
		is, err := os.Stat(path)
		if err != nil || !os.SameFile(is, was[i]) || is.Size() != was[i].Size() ||
			is.Mode() != was[i].Mode() || !is.ModTime().Equal(was[i].ModTime()) {
			return true
		}
	}
	return false
}

func (f Files) read() (*credentials, error) {
	var contents [3][]byte
	c := &credentials{}
	for i, path := range f.paths() {
		data, info, err := readFile(path)
		if err != nil {
			return nil, err
		}
		contents[i] = data
		c.files = append(c.files, info)
	}
	if !secretmode.Private(c.files[1]) {
		return nil, fmt.Errorf("read private key %q: mode %#o lets others than its owner at it: run chmod 600 %s",
			f.Key, c.files[1].Mode().Perm(), f.Key)
	}
	var err error
	if c.certificate, err = tls.X509KeyPair(contents[0], contents[1]); err != nil {
		return nil, fmt.Errorf("read certificate %q with private key %q: %w", f.Certificate, f.Key, err)
	}
	if f.ClientCA == "" {
		return c, nil
	}
	c.clientCAs = x509.NewCertPool()
	if !c.clientCAs.AppendCertsFromPEM(contents[2]) {
		return nil, fmt.Errorf("read client authorities %q: no certificate in it: it must be PEM", f.ClientCA)
	}
	return c, nil
}

// readFile reads a file, and says how it was before it was read.
func readFile(path string) ([]byte, os.FileInfo, error) {
	// Without O_NONBLOCK the opening of a pipe waits for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("read certificate file %q: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate file: %w", err)
	}
	if len(data) > maxFile {
		return nil, nil, fmt.Errorf("read certificate file %q: larger than %d bytes", path, maxFile)
	}
	return data, info, nil
}
