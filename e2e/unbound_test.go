package e2e

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// startTries is how often a server is started anew because somebody took the
// port that was free a moment ago.
const startTries = 5

var errEnded = errors.New("the process has ended")

// startUnbound runs the resolver that stands for the rest of the internet, and
// gives its port.
func startUnbound(t *testing.T) int {
	t.Helper()
	path := need(t, "unbound")
	for range startTries {
		dir, port := t.TempDir(), freePort(t)
		writeFile(t, filepath.Join(dir, "root.zone"), []byte(readFile(t, "testdata/root.zone")))
		config := render(t, dir, "unbound.conf", map[string]any{"Port": port, "Dir": dir})
		c := spawn(t, dir, path, "-d", "-c", config)
		if answersSoon(t, c, port) {
			return port
		}
		t.Logf("unbound did not start on port %d:\n%s", port, c.stderr.String())
	}
	t.Fatal("unbound does not start")
	return 0
}

func answersSoon(t *testing.T, c *child, port int) bool {
	t.Helper()
	var ended bool
	eventually(t, "unbound answers", func() error {
		if ended = !c.running(); ended {
			return nil
		}
		_, err := ask(loopback(port), "www.rockets.example.", dnsmessage.TypeA, 200*time.Millisecond)
		return err
	})
	return !ended
}

// ask sends one query over UDP. The dig tests look at answers closely; this is
// for probes and for load.
func ask(server, name string, kind dnsmessage.Type, within time.Duration) (*dnsmessage.Message, error) {
	conn, err := net.Dial("udp", server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	return askOn(conn, 0x5a17, name, kind)
}

func askOn(conn net.Conn, id uint16, name string, kind dnsmessage.Type) (*dnsmessage.Message, error) {
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	packed, err := query.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		var reply dnsmessage.Message
		if err := reply.Unpack(buf[:n]); err != nil {
			return nil, err
		}
		if reply.ID == id {
			return &reply, nil
		}
	}
}

// closed says whether nobody listens at a TCP address any more.
func closed(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return nil
	}
	conn.Close()
	return errors.New(addr + " still accepts connections")
}

func exists(path string) error {
	_, err := os.Stat(path)
	return err
}
