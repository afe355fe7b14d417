//go:build linux

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// haproxyScript gives HAProxy the folder of its socket, in a mount namespace that
// it shares with nobody.
const haproxyScript = `set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/haproxy
exec haproxy -db -f "$1"`

// balanced is two gateways behind HAProxy and dnsdist, as deploy/network has them.
type balanced struct {
	*lab
	members []*member
	dot     *authority
}

// TestBehindBalancers has clients come by the load balancers whose files are
// shipped, and takes one gateway away.
func TestBehindBalancers(t *testing.T) {
	for _, program := range []string{"haproxy", "dnsdist", "dig", "kdig"} {
		need(t, program)
	}
	l := newLab(t, "lan", "gateway-a", "gateway-b", "balancer", "desk", "site")
	l.hub(t, "lan", "gateway-a", "gateway-b", "balancer", "desk", "site")
	l.address(t, "gateway-a", "eth0", "10.20.0.2/24")
	l.address(t, "gateway-b", "eth0", "10.20.0.3/24")
	l.address(t, "balancer", "eth0", "10.20.0.5/24")
	l.address(t, "site", "eth0", "10.20.0.80/24")
	for i := range 8 {
		l.address(t, "desk", "eth0", fmt.Sprintf("10.20.0.%d/24", 50+i))
	}
	l.echo(t, "site", "10.20.0.80:8801")
	b := &balanced{lab: l}
	folder := t.TempDir()
	b.dot = newAuthority(t, folder)
	b.dot.serverCertificate(t, folder, 2)
	for _, m := range []membership{{Name: "gateway-a", Address: "10.20.0.2"}, {Name: "gateway-b", Address: "10.20.0.3"}} {
		m.DNS, m.Proxy, m.Admin, m.Balancer = `["`+m.Address+`:53"]`, `["`+m.Address+`:3128"]`, m.Address+":9180", "10.20.0.5"
		dir := t.TempDir()
		for _, file := range []string{"server.crt", "server.key"} {
			writeFile(t, filepath.Join(dir, file), []byte(readFile(t, filepath.Join(folder, file))))
		}
		b.members = append(b.members, l.start(t, dir, m))
	}
	config := changed(t, readFile(t, filepath.Join(networkFolder, "haproxy", "haproxy.cfg")), "maxconn 40000", "maxconn 100") // for any limit of open files
	file := filepath.Join(folder, "haproxy.cfg")
	writeFile(t, file, []byte(config))
	l.spawn(t, "balancer", t.TempDir(), "sh", "-c", haproxyScript, "haproxy", file)
	l.spawn(t, "balancer", t.TempDir(), need(t, "dnsdist"), "--supervised", "--disable-syslog", "-C", absolute(t, filepath.Join(networkFolder, "dnsdist", "dnsdist.conf")))
	b.served(t)

	t.Run("Clients", b.clients)
	t.Run("OneAway", b.oneAway)
}

// served waits until a client is served in every way.
func (b *balanced) served(t *testing.T) {
	t.Helper()
	for i := range 8 {
		from := fmt.Sprintf("10.20.0.%d", 50+i)
		for _, ask := range [][]string{
			{"dig", "+short", "+tries=1", "+time=1", "-b", from, "@10.20.0.5", "www.rockets.example"},
			{"dig", "+short", "+tcp", "+tries=1", "+time=1", "-b", from, "@10.20.0.5", "www.rockets.example"},
			{"kdig", "+short", "+tls", "+retry=0", "+time=2", "-b", from, "@10.20.0.5", "www.rockets.example"},
		} {
			eventually(t, fmt.Sprint(ask), func() error {
				if got := b.try(t, "desk", ask...); got.stdout != "10.20.0.80\n" {
					return fmt.Errorf("%q, %s", got.stdout, got.stderr)
				}
				return nil
			})
		}
		eventually(t, "a tunnel for "+from, func() error {
			conn, err := b.tunnel(from)
			if err == nil {
				err = conn.Close()
			}
			return err
		})
	}
}

// tunnel goes to the site by way of the proxy, and is greeted there.
func (b *balanced) tunnel(from string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	var conn net.Conn
	err := inNamespace(b.namespace("desk"), func() (err error) {
		conn, err = dialer.Dial("tcp", "10.20.0.5:3128")
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := throughTunnel(conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// throughTunnel opens a tunnel and says a word in it.
func throughTunnel(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "CONNECT 10.20.0.80:8801 HTTP/1.1\r\nHost: 10.20.0.80:8801\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("CONNECT: %s", response.Status)
	}
	return sayHello(conn)
}

func sayHello(conn net.Conn) error {
	word := make([]byte, 5)
	if _, err := io.WriteString(conn, "hello"); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, word)
	return err
}

// clients are known by their own addresses, and each stays with its gateway.
func (b *balanced) clients(t *testing.T) {
	before := make([]int, len(b.members)) // when both gateways were up for certain
	for i, m := range b.members {
		before[i] = len(m.decisions(t))
	}
	b.served(t)
	var doors map[string]map[string]bool // client and door -> gateways
	var used map[string]bool
	eventually(t, "every client is known at every door", func() error {
		doors, used = map[string]map[string]bool{}, map[string]bool{}
		for i, m := range b.members {
			for _, e := range m.decisions(t)[before[i]:] {
				if e.Client == "10.20.0.5" && e.Host == "use-application-dns.net" {
					continue // dnsdist itself, which asks whether the gateway is there
				}
				key := e.Client + " " + e.Transport
				if doors[key] == nil {
					doors[key] = map[string]bool{}
				}
				doors[key][m.machine] = true
				used[e.Door+" "+m.machine] = true
			}
		}
		if len(doors) < 8*4 { // UDP, TCP, TLS, and the proxy
			return fmt.Errorf("%d of 32 ways: %v", len(doors), doors)
		}
		return nil
	})
	if len(used) != 4 {
		t.Errorf("not every gateway serves both doors: %v", used)
	}
	for key, gateways := range doors {
		if len(gateways) != 1 || strings.HasPrefix(key, "10.20.0.5 ") {
			t.Errorf("%s was at %v", key, gateways)
		}
	}
}

// oneAway stops a gateway that has a tunnel: whoever was there is served by the
// other.
func (b *balanced) oneAway(t *testing.T) {
	stays := b.members[1]
	if code := b.members[0].stop(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	b.served(t)
	eventually(t, "every client is served by "+stays.machine, func() error {
		doors := map[string]bool{}
		for _, e := range stays.decisions(t) {
			doors[e.Client+" "+e.Transport] = true
		}
		for i := range 8 {
			for _, transport := range []string{"udp", "tcp", "tls", "connect"} {
				if key := fmt.Sprintf("10.20.0.%d %s", 50+i, transport); !doors[key] {
					return errors.New("not " + key)
				}
			}
		}
		return nil
	})
}
