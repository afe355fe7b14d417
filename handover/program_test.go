//go:build unix

package handover

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestSelf(t *testing.T) {
	p, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Args, os.Args) || !filepath.IsAbs(p.Path) {
		t.Errorf("got %+v", p)
	}
}

func TestSelfPath(t *testing.T) {
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "current")
	if err := os.Symlink(executable, link); err != nil {
		t.Fatal(err)
	}
	another := filepath.Join(dir, "another")
	if err := os.WriteFile(another, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Chdir(dir)
	for _, test := range []struct{ called, want string }{
		{executable, executable},
		{link, link}, // which may lead elsewhere by the time that it is followed
		{"./current", link},
		{"current", link},
		{another, executable}, // a name that was made up
		{"-nowhere", executable},
	} {
		if got, err := selfPath(test.called); err != nil || got != test.want {
			t.Errorf("called as %q: %q, %v, want %q", test.called, got, err, test.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	p := Program{Env: []string{"HOME=/root", "LISTEN_FDS=3", "LISTEN_PID=4", "LISTEN_FDNAMES=a", "WATCHDOG_PID=4",
		"WATCHDOG_USEC=5", "NOTIFY_SOCKET=/run/x", handoverVariable + "=3", "ODD"}}
	want := []string{"HOME=/root", "WATCHDOG_USEC=5", "NOTIFY_SOCKET=/run/x", "ODD"}
	if got := p.environment(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
