package check

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
)

// TestPods runs what every workload of every bundle runs: its command line, its
// configuration, its policy, its Secrets, as its user and group, in a root
// directory that holds the program and the pod's volumes. Then the policy's
// ConfigMap is edited, and then the pod is ended.
func TestPods(t *testing.T) {
	i := newIsland(t)
	secrets := secretsOf(t)
	for _, b := range everyBundle(t) {
		for _, w := range b.workloads() {
			if w.selector == nil {
				continue // helm test's own
			}
			t.Run(b.name+"/"+w.name, func(t *testing.T) {
				p := newPod(t, i, b, w, secrets)
				p.checked(t)
				p.serves(t)
			})
		}
	}
}

// pod is a workload's, on this machine.
type pod struct {
	island  island
	kubelet *kubelet
	spec    core.PodSpec
	dns     bool // clients come in by this door
	proxy   bool
}

func newPod(t *testing.T, i island, b bundle, w workload, secrets map[string]map[string]string) *pod {
	t.Helper()
	spec := w.template.Spec
	k := &kubelet{root: t.TempDir(), group: int(*spec.SecurityContext.FSGroup), contents: map[string]map[string]string{
		"our-policy": {"policy.yaml": string(readFile(t, "../../../configs/policy.yaml"))},
		"gate-lists": {"names.txt": "example.net\n"},
	}}
	for _, c := range all[*core.ConfigMap](b) {
		k.contents[c.Name] = c.Data
	}
	for name, files := range secrets {
		k.contents[name] = files
	}
	// Others than root must get into the folders that the test's own root is in.
	for dir := k.root; dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		k.must(t, os.Chmod(dir, 0o755))
	}
	k.must(t, os.MkdirAll(filepath.Join(k.root, "usr/bin"), 0o755), os.MkdirAll(filepath.Join(k.root, "etc"), 0o755))
	binary := filepath.Join(k.root, "usr/bin/sallyport")
	if err := os.Link(needProgram(t), binary); err != nil {
		k.must(t, os.WriteFile(binary, readFile(t, program), 0o755))
	}
	// Nobody answers there, nor need anybody.
	k.must(t, os.WriteFile(filepath.Join(k.root, "etc/resolv.conf"), []byte("nameserver 127.0.0.253\n"), 0o644))
	k.layOut(t, spec)
	p := &pod{island: i, kubelet: k, spec: spec}
	for _, port := range spec.Containers[0].Ports {
		p.dns = p.dns || port.Name == "dns-udp"
		p.proxy = p.proxy || port.Name == "proxy"
	}
	return p
}

// within is a command line inside of the pod, as its user and group.
func (p *pod) within(t *testing.T, args ...string) []string {
	t.Helper()
	s := p.spec.SecurityContext
	return append([]string{chroot(t), fmt.Sprintf("--userspec=%d:%d", *s.RunAsUser, *s.RunAsGroup),
		fmt.Sprintf("--groups=%d", *s.FSGroup), p.kubelet.root, "/usr/bin/sallyport"}, args...)
}

// expected are warnings of a strict check that a pod cannot do without.
var expected = []string{
	// In the DNS door's own pods: nobody can continue there, which is so.
	"portal.listen is empty",
	// The Service leads port 80 to it.
	"answer: page sends browsers to port 80, and portal.listen is :8080",
}

// checked: the program finds nothing wrong with configuration, files and policy.
func (p *pod) checked(t *testing.T) {
	t.Helper()
	out, err := p.island.run(t, p.within(t, "check", "--strict", "--config", "/etc/sallyport/config/sallyport.yaml")...)
	if err == nil {
		return
	}
	for line := range strings.Lines(out) {
		known := slices.ContainsFunc(expected, func(e string) bool { return strings.Contains(line, "warning: ") && strings.Contains(line, e) })
		if !known && !strings.HasPrefix(line, "error: 0 errors") && !strings.HasPrefix(line, "hint: ") {
			t.Errorf("check: %s", line)
		}
	}
}

// serves: it becomes ready, refuses what the policy forbids, takes an edit of the
// ConfigMap over, and ends well.
func (p *pod) serves(t *testing.T) {
	t.Helper()
	c := p.spec.Containers[0]
	var env []string
	for _, e := range c.Env {
		env = append(env, e.Name+"="+e.Value)
	}
	gateway := p.island.start(t, env, p.within(t, c.Args...)...)
	eventually(t, gateway, "ready", func() error {
		out, err := p.island.run(t, p.within(t, "health", "--address", "127.0.0.1:9180")...)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	p.refuses(t, gateway, "us04web.zoom.us")
	p.kubelet.publish(t, "/etc/sallyport/policy", map[string]string{"edited.yaml": editedPolicy}, 0o644)
	p.refuses(t, gateway, "example.webex.com")
	if code := gateway.stop(t); code != 0 {
		t.Errorf("the exit status is %d:\n%s", code, gateway.out)
	}
}

// editedPolicy comes under another name than what was there, as an edit may.
const editedPolicy = `version: 1
rules:
  - {name: edited, what: {apps: [webex]}, action: block, reason: An edit of the ConfigMap}
default: allow
`

// refuses waits until a name is refused at every door of the pod.
func (p *pod) refuses(t *testing.T, gateway *process, name string) {
	t.Helper()
	if p.dns {
		eventually(t, gateway, "the DNS door refuses "+name, func() error {
			out, err := p.island.run(t, "dig", "-b", client, "@"+client, "-p", "1053", "+tries=1", "+time=5", name)
			if err != nil || !strings.Contains(out, "EDE: 15") {
				return fmt.Errorf("%v: %s", err, out)
			}
			return nil
		})
	}
	if p.proxy {
		eventually(t, gateway, "the proxy door refuses "+name, func() error {
			out, err := p.island.run(t, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--interface", client, "--proxy-user", "alice@corp.example:U*U", "-x", "http://"+client+":3128", "http://"+name+"/")
			if err != nil || out != "403" {
				return errors.Join(err, errors.New(out))
			}
			return nil
		})
	}
}
