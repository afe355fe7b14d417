package main

import (
	"bufio"
	"embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

//go:embed testdata/sallyport.yaml testdata/policy.yaml
var settings embed.FS

// patience is how long the gateway may take to be ready, and to show all.
const patience = 30 * time.Second

// liveMetrics runs a gateway with everything switched on until it exports every
// metric that is wanted, or for as long as that may take, and gives what it
// exports: what is missing then is for others to say.
func liveMetrics(binary string, wanted []string) (map[string]*dto.MetricFamily, error) {
	dir, err := os.MkdirTemp("", "promcheck-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	list := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("fetched.example\n")) }))
	defer list.Close()
	upstream, err := newUpstream()
	if err != nil {
		return nil, err
	}
	defer upstream.close()
	if err := writeFolder(dir, binary, upstream.address(), list.URL); err != nil {
		return nil, fmt.Errorf("set a gateway up: %w", err)
	}
	g, err := startGateway(dir, binary)
	if err != nil {
		return nil, err
	}
	families, err := g.showAll(wanted)
	return families, errors.Join(err, g.stop())
}

// writeFolder writes what the configuration names.
func writeFolder(dir, binary, upstream, list string) error {
	if err := writeCertificate(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")); err != nil {
		return err
	}
	for name, value := range map[string]string{"sallyport.yaml": upstream, "policy.yaml": list} {
		text, err := template.ParseFS(settings, "testdata/"+name)
		if err != nil {
			return err
		}
		var b strings.Builder
		if err := text.Execute(&b, value); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o600); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"kept.txt":       "kept.example\n",
		"users.htpasswd": "priya:$2y$05$abcdefghijklmnopqrstuuVfYyq7Zf0m7mZx7k1o3mZQm3m3m3m3m\n", // of no password
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	made, err := exec.Command(binary, "ca", "init", "--certificate", filepath.Join(dir, "ca.crt"), "--key", filepath.Join(dir, "ca.key"),
		"--permit", "zoom.us").CombinedOutput()
	if err != nil {
		return fmt.Errorf("make an authority: %w: %s", err, made)
	}
	return nil
}

// gateway is the binary, running.
type gateway struct {
	command   *exec.Cmd
	stderr    *os.File
	addresses map[string]string // by what listens there
}

// startGateway returns once the gateway says that it is ready.
func startGateway(dir, binary string) (*gateway, error) {
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	g := &gateway{command: exec.Command(binary, "serve", "--config", filepath.Join(dir, "sallyport.yaml")), stderr: log, addresses: map[string]string{}}
	g.command.Stderr = log
	stdout, err := g.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.command.Start(); err != nil {
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	late := time.AfterFunc(patience, func() { _ = g.command.Process.Kill() })
	defer late.Stop()
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if lines.Text() == "ready" {
			return g, nil
		}
		if at := strings.LastIndexByte(lines.Text(), ' '); at > 0 {
			g.addresses[lines.Text()[:at]] = lines.Text()[at+1:]
		}
	}
	said, _ := os.ReadFile(log.Name()) // the more important error follows
	return nil, errors.Join(fmt.Errorf("the gateway does not become ready: %s", said), g.command.Wait())
}

func (g *gateway) stop() error {
	late := time.AfterFunc(patience, func() { _ = g.command.Process.Kill() })
	defer late.Stop()
	err := g.command.Process.Signal(syscall.SIGTERM)
	return errors.Join(err, g.command.Wait(), g.stderr.Close())
}

// showAll sends traffic until every metric is there.
func (g *gateway) showAll(wanted []string) (map[string]*dto.MetricFamily, error) {
	for deadline := time.Now().Add(patience); ; {
		if err := g.drive(); err != nil {
			return nil, fmt.Errorf("use the gateway: %w", err)
		}
		families, err := g.scrape()
		if err != nil {
			return nil, fmt.Errorf("read the gateway's metrics: %w", err)
		}
		missing := 0
		for _, name := range wanted {
			if families[name] == nil {
				missing++
			}
		}
		if missing == 0 || time.Now().After(deadline) {
			return families, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (g *gateway) scrape() (map[string]*dto.MetricFamily, error) {
	response, err := (&http.Client{Timeout: patience}).Get("http://" + g.addresses["admin http"] + "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	return parser.TextToMetricFamilies(response.Body)
}

// upstream is a resolver that knows every name as an address of this machine.
type upstream struct {
	conn  net.PacketConn
	ended chan struct{}
}

func newUpstream() (*upstream, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{conn: conn, ended: make(chan struct{})}
	go u.serve()
	return u, nil
}

func (u *upstream) address() string { return u.conn.LocalAddr().String() }

func (u *upstream) close() {
	_ = u.conn.Close()
	<-u.ended
}

func (u *upstream) serve() {
	defer close(u.ended)
	buffer := make([]byte, 4096)
	for {
		n, from, err := u.conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		if reply, ok := replyTo(buffer[:n]); ok {
			_, _ = u.conn.WriteTo(reply, from)
		}
	}
}
