//go:build unix

package handover

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// TestNotify sends every notification to a socket like systemd's.
func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	environment := map[string]string{notifySocket: path, watchdogUSec: "3000000", watchdogPID: strconv.Itoa(os.Getpid())}
	n := NewNotifier(func(name string) string { return environment[name] })
	if n.Watchdog() != 3*time.Second {
		t.Errorf("the watchdog wants to hear every %v", n.Watchdog())
	}
	for _, test := range []struct {
		send func() error
		want string
	}{
		{func() error { return n.Ready("policy 1\nMAINPID=1") }, `^READY=1\nSTATUS=policy 1 MAINPID=1$`},
		{n.Reloading, `^RELOADING=1(\nMONOTONIC_USEC=[1-9][0-9]*)?$`},
		{func() error { return n.Stopping(20 * time.Second) }, `^STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000$`},
		{func() error { return n.MainPID(4711) }, `^MAINPID=4711$`},
		{n.Alive, `^WATCHDOG=1$`},
	} {
		if err := test.send(); err != nil {
			t.Fatal(err)
		}
		if err := systemd.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		var b [512]byte
		size, err := systemd.Read(b[:])
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(test.want).Match(b[:size]) {
			t.Errorf("sent %q, want %s", b[:size], test.want)
		}
	}
	systemd.Close()
	if err := n.Alive(); err == nil {
		t.Error("nobody was there to be told, and nothing said so")
	}
}

func TestNotifyNobody(t *testing.T) {
	for _, environment := range []map[string]string{
		{},
		{watchdogUSec: "3000000"}, // without a socket there is nobody to tell
		{notifySocket: "@sallyport-test-nobody", watchdogUSec: "3000000", watchdogPID: "1"},
		{notifySocket: "@sallyport-test-nobody", watchdogUSec: "often"},
	} {
		n := NewNotifier(func(name string) string { return environment[name] })
		if n.Watchdog() != 0 {
			t.Errorf("%v: the watchdog wants to hear every %v", environment, n.Watchdog())
		}
		if err := n.Alive(); (err == nil) != (environment[notifySocket] == "") {
			t.Errorf("%v: %v", environment, err)
		}
	}
}
