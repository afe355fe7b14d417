package servercert

import (
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// lookEvery is how often the files are looked at while there are handshakes.
const lookEvery = time.Second

// Store is what a TLS listener shows and asks for. The files are read again when
// they have changed, at most once a second and only while there are handshakes;
// connections that are open keep what they began with. New files that are no
// good change nothing, and a certificate that has expired is none while the one in
// use has not: what was there before stays, and the log says why. Make it with
// Load. Safe for concurrent use.
type Store struct {
	files   Files
	log     *zap.Logger
	every   time.Duration
	current atomic.Pointer[credentials]
	looked  atomic.Int64 // when the files were last looked at, in Unix nanoseconds

	mu      sync.Mutex // held while files are read
	failure string     // of the last attempt; empty if it succeeded
}

// Load reads files. It fails where one cannot be read or holds nothing that it
// should, where the key is not the certificate's, and where anybody but its owner
// can read or write the key. log hears of what happens to the files later.
func Load(files Files, log *zap.Logger) (*Store, error) {
	s := &Store{files: files, log: log, every: lookEvery}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload reads the files now. If that fails, nothing changes.
func (s *Store) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reload()
}

func (s *Store) reload() error {
	s.looked.Store(time.Now().UnixNano())
	fresh, err := s.files.read()
	if err == nil {
		err = s.worse(fresh, time.Now())
	}
	if err != nil {
		if err.Error() != s.failure && s.current.Load() != nil {
			s.log.Error("certificate not reloaded: the old one stays", zap.Error(err))
		}
		s.failure = err.Error()
		return err
	}
	old := s.current.Swap(fresh)
	s.failure = ""
	expiry := zap.Time("not_after", fresh.certificate.Leaf.NotAfter)
	if old != nil {
		s.log.Info("certificate reloaded", zap.String("file", s.files.Certificate), expiry)
	}
	if expired(fresh, time.Now()) {
		s.log.Warn("certificate has expired: clients will refuse it", zap.String("file", s.files.Certificate), expiry)
	}
	return nil
}

// worse is an error where a certificate is no longer good, and the one in use
// still is: a tool that put back a backup, or took the wrong file.
func (s *Store) worse(fresh *credentials, now time.Time) error {
	old := s.current.Load()
	if old == nil || !expired(fresh, now) || expired(old, now) {
		return nil
	}
	return fmt.Errorf("read certificate %q: it expired at %s, and the one in use is good until %s: renew it",
		s.files.Certificate, fresh.certificate.Leaf.NotAfter.UTC().Format(time.RFC3339), old.certificate.Leaf.NotAfter.UTC().Format(time.RFC3339))
}

func expired(c *credentials, now time.Time) bool { return now.After(c.certificate.Leaf.NotAfter) }

// NotAfter is when the certificate in use expires. Where nobody shakes hands,
// Refresh before makes it the one in the files.
func (s *Store) NotAfter() time.Time { return s.current.Load().certificate.Leaf.NotAfter }

// Refresh reads the files again if they have changed, or were no good the last
// time, and it was more than a second ago that they were looked at.
func (s *Store) Refresh() {
	now := time.Now()
	last := s.looked.Load()
	if now.UnixNano()-last < int64(s.every) || !s.looked.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	if !s.mu.TryLock() {
		return // somebody else is at it
	}
	defer s.mu.Unlock()
	if s.failure != "" || s.files.changed(s.current.Load().files) {
		_ = s.reload() // the log has it
	}
}

// ClientAuthorities reports whether clients must show a certificate, and
// whether the files that say of whom were good when they were last read: where
// they were not, those before still hold. Refresh before makes it the files of
// now.
func (s *Store) ClientAuthorities() (wanted, good bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files.ClientCA != "", s.failure == ""
}

// ServerConfig is the TLS configuration of a listener for these protocols
// (ALPN). Session tickets are the listener's own and outlive a reload; a
// client certificate that is no longer good does not, because crypto/tls
// verifies it again when a session is resumed.
func (s *Store) ServerConfig(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			s.Refresh()
			return s.current.Load().config(protocols), nil
		},
	}
}
