package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// Why there is no leaf for a name.
var (
	// ErrNotCovered is for names that the authority's constraints leave out,
	// for what is no name, and for an authority that has expired.
	ErrNotCovered = errors.New("the authority may not sign for this name")

	// ErrBusy is for new names that come faster than they are signed.
	ErrBusy = errors.New("too many new names at once")
)

// lookEvery is how often the files are looked at while there is traffic.
const lookEvery = time.Second

// Dependencies is what an Authority needs of its process. The zero value works.
type Dependencies struct {
	Registerer prometheus.Registerer // takes the metrics; nil: they are shown nowhere
	Log        *zap.Logger           // nil: silent
	Now        func() time.Time      // the clock of certificates; nil: time.Now
}

// Authority signs leaves for names that the policy has refused. The files are
// read again when they have changed, at most once a second and only while
// there is traffic; new files that are no good change nothing, and the log says
// why. Make it with Load. Safe for concurrent use.
type Authority struct {
	files    Files
	log      *zap.Logger
	now      func() time.Time
	metrics  *metrics
	leafKey  *ecdsa.PrivateKey // of every leaf; it is in no file
	config   *tls.Config
	patience patience

	every   time.Duration
	current atomic.Pointer[issuer]
	looked  atomic.Int64 // when the files were last looked at, in Unix nanoseconds

	mu      sync.Mutex // held while files are read
	failure string     // of the last attempt; empty if it succeeded
}

// Load reads an authority. It fails where a file cannot be read, where anybody
// but its owner can read or write the key, where the key is not the
// certificate's, and where the certificate is not an authority's whose leaves
// browsers take. One that has expired is loaded, and signs nothing: a gateway
// must not stay down because its block page would be a plain one.
func Load(files Files, d Dependencies) (*Authority, error) {
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of leaves: %w", err)
	}
	a := &Authority{files: files, log: d.Log, now: d.Now, leafKey: leafKey, patience: defaultPatience(), every: lookEvery}
	a.config = a.newConfig()
	if err := a.Reload(); err != nil {
		return nil, err
	}
	if a.metrics, err = newMetrics(d.Registerer, a); err != nil {
		return nil, err
	}
	return a, nil
}

// Reload reads the files now. If that fails, nothing changes.
func (a *Authority) Reload() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reload()
}

func (a *Authority) reload() error {
	now := a.now()
	a.looked.Store(now.UnixNano())
	fresh, err := readIssuer(a.files)
	if err == nil {
		err = fresh.prepare(a.leafKey)
	}
	old := a.current.Load()
	if err != nil {
		if err.Error() != a.failure && old != nil {
			a.log.Error("authority not reloaded: the old one stays", zap.Error(err))
		}
		a.failure = err.Error()
		return err
	}
	a.current.Store(fresh)
	a.failure = ""
	if old != nil {
		a.log.Info("authority reloaded", zap.String("file", a.files.Certificate), zap.Time("not_after", fresh.certificate.NotAfter))
	}
	for _, warning := range Warnings(fresh.certificate, now) {
		a.log.Warn("authority: "+warning, zap.String("file", a.files.Certificate))
	}
	return nil
}

// look reads the files again if it is time to look at them and they have
// changed, or were no good the last time.
func (a *Authority) look(now time.Time) {
	last := a.looked.Load()
	if now.UnixNano()-last < int64(a.every) || !a.looked.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	if !a.mu.TryLock() {
		return // somebody else is at it
	}
	defer a.mu.Unlock()
	if a.failure != "" || a.files.changed(a.current.Load().files) {
		_ = a.reload() // the log has it
	}
}

// Certificate is the authority's own, for clients to install. Do not change it.
func (a *Authority) Certificate() *x509.Certificate {
	a.look(a.now())
	return a.current.Load().certificate
}

// NotAfter is when the authority expires.
func (a *Authority) NotAfter() time.Time { return a.current.Load().certificate.NotAfter }

// Covers reports whether there can be a leaf for a name, or for an address in
// text form: whether it is worth beginning. It signs nothing.
func (a *Authority) Covers(name string) bool {
	host, err := policy.ParseHost(name)
	if err != nil {
		return false
	}
	now := a.now()
	a.look(now)
	return a.current.Load().holds(host, now)
}

// Leaf returns a certificate for a name, or for an address in text form, with
// its key and with the authorities between it and the root. One that is kept is
// given again; do not change it. The error wraps ErrNotCovered or ErrBusy, or
// is one of the signature.
func (a *Authority) Leaf(name string) (*tls.Certificate, error) {
	host, err := policy.ParseHost(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotCovered, err)
	}
	now := a.now()
	a.look(now)
	i := a.current.Load()
	if !i.holds(host, now) {
		return nil, fmt.Errorf("%w: %q", ErrNotCovered, host)
	}
	c, err := i.shelf.get(host, now, func() (*leaf, error) {
		a.metrics.signed.Inc()
		return i.sign(host, now)
	})
	if err != nil {
		return nil, fmt.Errorf("certificate for %q: %w", host, err)
	}
	return c, nil
}

// TLSConfig is the configuration of every handshake: a leaf for the client's
// server name, TLS 1.2 at least, HTTP/1, and session tickets of this
// process's own. It is shared: do not change it.
func (a *Authority) TLSConfig() *tls.Config { return a.config }

func (a *Authority) newConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1", "http/1.0"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if v, ok := hello.Conn.(*visitor); ok {
				return v.present(), nil
			}
			return a.Leaf(hello.ServerName)
		},
	}
}
