package servercert

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/internal/testpki"
)

// filesOf writes the certificate and the key of a server.
func filesOf(t testing.TB, a *testpki.Authority) Files {
	t.Helper()
	certificate, key := a.ServerFiles(t)
	return Files{Certificate: certificate, Key: key}
}

func TestLoadRefuses(t *testing.T) {
	a := testpki.New(t, "root")
	other := filesOf(t, a)
	tests := []struct {
		name  string
		spoil func(t *testing.T, files *Files)
		want  string
	}{
		{"no file", func(t *testing.T, f *Files) { f.Certificate += ".missing" }, "no such file"},
		{"no certificate named", func(t *testing.T, f *Files) { f.Certificate = "" }, "no such file"},
		{"another key", func(t *testing.T, f *Files) { f.Key = other.Key }, "does not match"},
		{"no PEM", func(t *testing.T, f *Files) { testpki.Put(t, f.Certificate, []byte("none")) }, "failed to find any PEM"},
		{"a folder", func(t *testing.T, f *Files) { f.Certificate = filepath.Dir(f.Key) }, "not a regular file"},
		{"too large", func(t *testing.T, f *Files) { testpki.Put(t, f.Certificate, make([]byte, maxFile+1)) }, "larger than"},
		{"no authority", func(t *testing.T, f *Files) { f.ClientCA = f.Key }, "no certificate in it"},
		{"key that all can read", func(t *testing.T, f *Files) {
			if runtime.GOOS == "windows" {
				t.Skip("no such bits")
			}
			if err := os.Chmod(f.Key, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "run chmod 600"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := filesOf(t, a)
			test.spoil(t, &files)
			_, err := Load(files, zap.NewNop())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestReload(t *testing.T) {
	a := testpki.New(t, "root")
	files := filesOf(t, a)
	core, logs := observer.New(zapcore.InfoLevel)
	c, err := Load(files, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	c.every = 0
	first := c.NotAfter()

	c.Refresh()
	if !c.NotAfter().Equal(first) || logs.Len() != 0 {
		t.Fatalf("files that have not changed were read: %v", logs.All())
	}

	// Half of a new pair is no pair; it is said once, however often it is seen.
	later := first.Add(time.Hour).Truncate(time.Second)
	certificate, key := a.Sign(t, x509.Certificate{NotAfter: later})
	testpki.Put(t, files.Certificate, certificate)
	for range 3 {
		c.Refresh()
	}
	if !c.NotAfter().Equal(first) {
		t.Error("half a pair was taken")
	}
	if n := logs.FilterMessageSnippet("not reloaded").Len(); n != 1 {
		t.Errorf("%d complaints", n)
	}
	if err := c.Reload(); err == nil {
		t.Error("Reload takes half a pair")
	}

	testpki.Put(t, files.Key, key)
	c.Refresh()
	if !c.NotAfter().Equal(later) {
		t.Errorf("expiry %v, want %v", c.NotAfter(), later)
	}
	if n := logs.FilterMessage("certificate reloaded").Len(); n != 1 {
		t.Errorf("%d reloads in the log", n)
	}

	// Looks are rare: another pair is not seen before its time, but by Reload.
	c.every = time.Hour
	a.Renew(t, files.Certificate, files.Key, first.Add(2*time.Hour))
	c.Refresh()
	if !c.NotAfter().Equal(later) {
		t.Error("looked too soon")
	}
	if err := c.Reload(); err != nil {
		t.Fatal(err)
	}
	if c.NotAfter().Equal(later) {
		t.Error("Reload changed nothing")
	}
}

func TestExpired(t *testing.T) {
	a := testpki.New(t, "root")
	files := filesOf(t, a)
	a.Renew(t, files.Certificate, files.Key, time.Now().Add(-time.Minute))
	core, logs := observer.New(zapcore.WarnLevel)
	if _, err := Load(files, zap.New(core)); err != nil {
		t.Fatalf("an expired certificate keeps the door shut: %v", err)
	}
	if logs.FilterMessageSnippet("expired").Len() != 1 {
		t.Error("nobody was warned")
	}
}

// TestExpiredReplacesNothingGood: a pair that has expired is not taken for one
// that is good, is complained of once, and is taken where there is nothing better.
// What is in use and has expired is not held on to.
func TestExpiredReplacesNothingGood(t *testing.T) {
	a := testpki.New(t, "root")
	files := filesOf(t, a)
	core, logs := observer.New(zapcore.InfoLevel)
	s, err := Load(files, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	s.every = 0
	first := s.NotAfter()
	past := time.Now().Add(-time.Hour).Truncate(time.Second)
	a.Renew(t, files.Certificate, files.Key, past)
	for range 3 {
		s.Refresh()
	}
	if !s.NotAfter().Equal(first) {
		t.Fatal("an expired certificate took the place of a good one")
	}
	if n := logs.FilterMessageSnippet("the old one stays").Len(); n != 1 {
		t.Errorf("%d complaints", n)
	}
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), "expired at") {
		t.Errorf("Reload says %v", err)
	}
	next := first.Add(time.Hour).Truncate(time.Second)
	a.Renew(t, files.Certificate, files.Key, next)
	s.Refresh()
	if !s.NotAfter().Equal(next) {
		t.Error("a good one was not taken after it")
	}

	a.Renew(t, files.Certificate, files.Key, past)
	s, err = Load(files, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	earlier := past.Add(-time.Hour)
	a.Renew(t, files.Certificate, files.Key, earlier)
	if err := s.Reload(); err != nil || !s.NotAfter().Equal(earlier) {
		t.Errorf("expired for expired: %v, in use %v", err, s.NotAfter())
	}
}
