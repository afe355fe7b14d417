package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// doorPolicy is what the DNS scenarios are decided by: Zoom and its disguises
// are refused, everything else goes.
const doorPolicy = `version: 1
rules:
  - {name: memo, what: {apps: [zoom]}, action: block, reason: Privacy and security concerns}
default: allow
`

// writeDoor writes doorPolicy and a configuration whose dns section, but for
// where it listens, is dns: lines without indentation.
func writeDoor(t *testing.T, dir, dns string) (config string) {
	t.Helper()
	var text strings.Builder
	text.WriteString("policy: policy.yaml\ndns:\n  listen: [\"127.0.0.1:0\"]\n")
	for line := range strings.Lines(dns) {
		text.WriteString("  " + line)
	}
	text.WriteString("\nproxy: {listen: [\"127.0.0.1:0\"]}\nadmin: {listen: \"127.0.0.1:0\"}\nportal: {listen: \"127.0.0.1:0\"}\naudit: {file: decisions.jsonl, allows: none}\n")
	writeFile(t, filepath.Join(dir, "policy.yaml"), []byte(doorPolicy))
	config = filepath.Join(dir, "sallyport.yaml")
	writeFile(t, config, []byte(text.String()))
	return config
}

// startDoor runs the binary in dir, which may hold what dns names.
func startDoor(t *testing.T, dir, dns string) *gateway {
	t.Helper()
	binary, config := sallyport(t), writeDoor(t, dir, dns)
	g := &gateway{dir: dir, child: spawn(t, dir, binary, "serve", "--config", config)}
	g.waitReady(t)
	return g
}

// upstreamLine is the setting that names resolvers on loopback.
func upstreamLine(ports ...int) string {
	var list []string
	for _, port := range ports {
		list = append(list, fmt.Sprintf("%q", "udp://"+loopback(port)))
	}
	return "upstreams: [" + strings.Join(list, ", ") + "]\n"
}

// encryptedLines are the settings of the encrypted listeners, with the
// certificate that serverCertificate writes.
const encryptedLines = `tls: {listen: ["127.0.0.1:0"], certificate: server.crt, key: server.key}
https: {listen: ["127.0.0.1:0"], certificate: server.crt, key: server.key}
quic: {listen: ["127.0.0.1:0"], certificate: server.crt, key: server.key}
`

// needRoot skips what only root may do: network namespaces.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv(requireEnv) == "1" {
		t.Fatalf("this test needs root, and %s=1 asks for it", requireEnv)
	}
	t.Skip("this test needs root: it makes network namespaces")
}
