package ingress

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	// certificateLook is how often certificate files are looked at while there
	// are handshakes.
	certificateLook = time.Second

	maxCertificateFile = 1 << 20 // bytes; a bundle of every public root has a quarter of it
)

// CertificateFiles are PEM files: a certificate with its chain, its private
// key, and, where clients must have certificates of their own, those of the
// authorities that sign them.
type CertificateFiles struct {
	Certificate string
	Key         string
	ClientCA    string // empty: clients need no certificate
}

// Certificates is what a TLS listener shows and asks for. The files are read
// again when they have changed, at most once a second and only while there are
// handshakes; connections that are open keep what they began with. New files
// that are no good change nothing: what was there before stays, and the log
// says why. Make it with LoadCertificates. Safe for concurrent use.
type Certificates struct {
	files   CertificateFiles
	log     *zap.Logger
	every   time.Duration
	current atomic.Pointer[credentials]
	looked  atomic.Int64 // when the files were last looked at, in Unix nanoseconds

	mu      sync.Mutex // held while files are read
	failure string     // of the last attempt; empty if it succeeded
}

// credentials is what the files held at one time.
type credentials struct {
	certificate tls.Certificate
	clientCAs   *x509.CertPool // nil: clients need no certificate
	files       []os.FileInfo  // as they were when they were read
}

// LoadCertificates reads files. It fails where one cannot be read or holds
// nothing that it should, where the key is not the certificate's, and where
// anybody but its owner can read or write the key. log hears of what happens
// to the files later.
func LoadCertificates(files CertificateFiles, log *zap.Logger) (*Certificates, error) {
	c := &Certificates{files: files, log: log, every: certificateLook}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files now. If that fails, nothing changes.
func (c *Certificates) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reload()
}

func (c *Certificates) reload() error {
	c.looked.Store(time.Now().UnixNano())
	fresh, err := c.files.read()
	if err != nil {
		if err.Error() != c.failure && c.current.Load() != nil {
			c.log.Error("certificate not reloaded: the old one stays", zap.Error(err))
		}
		c.failure = err.Error()
		return err
	}
	old := c.current.Swap(fresh)
	c.failure = ""
	expiry := zap.Time("not_after", fresh.certificate.Leaf.NotAfter)
	if old != nil {
		c.log.Info("certificate reloaded", zap.String("file", c.files.Certificate), expiry)
	}
	if time.Now().After(fresh.certificate.Leaf.NotAfter) {
		c.log.Warn("certificate has expired: clients will refuse it", zap.String("file", c.files.Certificate), expiry)
	}
	return nil
}

// NotAfter is when the certificate in use expires.
func (c *Certificates) NotAfter() time.Time { return c.current.Load().certificate.Leaf.NotAfter }

// look reads the files again if it is time to look at them and they have
// changed, or were no good the last time.
func (c *Certificates) look(now time.Time) {
	last := c.looked.Load()
	if now.UnixNano()-last < int64(c.every) || !c.looked.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	if !c.mu.TryLock() {
		return // somebody else is at it
	}
	defer c.mu.Unlock()
	if c.failure != "" || c.files.changed(c.current.Load().files) {
		_ = c.reload() // the log has it
	}
}

// serverConfig is the TLS configuration of a listener for these protocols
// (ALPN). Session tickets are the listener's own and outlive a reload; a
// client certificate that is no longer good does not, because crypto/tls
// verifies it again when a session is resumed.
func (c *Certificates) serverConfig(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c.look(time.Now())
			return c.current.Load().config(protocols), nil
		},
	}
}

func (c *credentials) config(protocols []string) *tls.Config {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   protocols,
		Certificates: []tls.Certificate{c.certificate},
		// Replies that are ready together leave in one record, and in one
		// write. They are small: waiting for a whole one costs nothing.
		DynamicRecordSizingDisabled: true,
	}
	if c.clientCAs != nil {
		config.ClientCAs = c.clientCAs
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config
}

// paths is the files that are set.
func (f CertificateFiles) paths() []string {
	paths := []string{f.Certificate, f.Key}
	if f.ClientCA != "" {
		paths = append(paths, f.ClientCA)
	}
	return paths
}

// changed reports whether a file is not as it was, or not there.
func (f CertificateFiles) changed(was []os.FileInfo) bool {
	for i, path := range f.paths() {
		is, err := os.Stat(path)
		if err != nil || !os.SameFile(is, was[i]) || is.Size() != was[i].Size() ||
			is.Mode() != was[i].Mode() || !is.ModTime().Equal(was[i].ModTime()) {
			return true
		}
	}
	return false
}

func (f CertificateFiles) read() (*credentials, error) {
	var contents [3][]byte
	c := &credentials{}
	for i, path := range f.paths() {
		data, info, err := readCertificateFile(path)
		if err != nil {
			return nil, err
		}
		contents[i] = data
		c.files = append(c.files, info)
	}
	// Windows has no such bits: who may read a file is said elsewhere.
	if open := c.files[1].Mode().Perm() & 0o077; open != 0 && runtime.GOOS != "windows" {
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

// readCertificateFile reads a file, and says how it was before it was read.
func readCertificateFile(path string) ([]byte, os.FileInfo, error) {
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
	data, err := io.ReadAll(io.LimitReader(f, maxCertificateFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate file: %w", err)
	}
	if len(data) > maxCertificateFile {
		return nil, nil, fmt.Errorf("read certificate file %q: larger than %d bytes", path, maxCertificateFile)
	}
	return data, info, nil
}
