package proxy

import (
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// withoutDescriptors leaves the process one descriptor, until the func that it
// returns is called.
func withoutDescriptors(t *testing.T) (restore func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Skip(err)
	}
	next, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	lowered := before
	lowered.Cur = uint64(next.Fd()) + 1
	_ = next.Close()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lowered); err != nil {
		t.Skip(err)
	}
	restore = func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before) }
	t.Cleanup(restore)
	return restore
}

// Without a descriptor for one more, clients are turned away rather than left
// to wait, the admin hears of it once, and afterwards all is as before.
func TestNoDescriptorLeft(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	d := open(t, func(_ *Config, dependencies *Dependencies) { dependencies.Log = zap.New(core) })
	where := origin(t, echoing)
	old := d.tunnel(where.String())
	d.awaitMetric(1, "sallyport_proxy_tunnels")
	restore := withoutDescriptors(t)
	for i := range 3 {
		var c *client
		eventually(t, "dialled", func() bool { // a listener that looks for clients takes the descriptor for a moment
			conn, err := net.Dial("tcp", d.addr)
			if err == nil {
				c = &client{TCPConn: conn.(*net.TCPConn), t: t, reader: newReader(conn)}
			}
			return err == nil
		})
		_ = c.SetDeadline(time.Now().Add(patience))
		c.turnedAway()
		_ = c.Close()
		d.awaitMetric(float64(i+1), "sallyport_proxy_shed_total", shedAccept)
	}
	if got := old.echo("still here"); got != "still here" {
		t.Errorf("an old tunnel: %q", got)
	}
	restore()
	eventually(t, "served again", func() bool {
		c := d.client()
		c.send(connectTo(where.String()))
		response, _ := c.answer(http.MethodConnect)
		return response.StatusCode == http.StatusOK && c.echo("x") == "x"
	})
	if n := logs.Len(); n != 1 {
		t.Errorf("%d warnings, want one: %v", n, logs.All())
	}
}
