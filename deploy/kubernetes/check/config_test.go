package check

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// configMap is what a workload mounts at a path.
func (b bundle) configMap(w workload, path string) *core.ConfigMap {
	for _, m := range w.template.Spec.Containers[0].VolumeMounts {
		if m.MountPath != path {
			continue
		}
		for _, v := range w.template.Spec.Volumes {
			if v.Name != m.Name || v.ConfigMap == nil {
				continue
			}
			for _, c := range all[*core.ConfigMap](b) {
				if c.Name == v.ConfigMap.Name {
					return c
				}
			}
		}
	}
	return nil
}

// settings are those of sallyport.yaml that the pod must agree with.
type settings struct {
	Policy string `json:"policy"`
	State  string `json:"state"`
	Admin  struct {
		Listen string `json:"listen"`
	} `json:"admin"`
	Portal listener `json:"portal"`
	DNS    struct {
		Listen []string `json:"listen"`
		TLS    endpoint `json:"tls"`
		HTTPS  endpoint `json:"https"`
		QUIC   endpoint `json:"quic"`
	} `json:"dns"`
	Proxy struct {
		Listen []string `json:"listen"`
		SOCKS  endpoint `json:"socks"`
		TLS    endpoint `json:"tls"`
		Drain  string   `json:"drain"`
	} `json:"proxy"`
}

type listener struct {
	Listen string `json:"listen"`
}

type endpoint struct {
	Listen []string `json:"listen"`
	HTTP3  bool     `json:"http3"`
}

func (b bundle) settings(w workload) (settings, error) {
	var s settings
	c := b.configMap(w, "/etc/sallyport/config")
	if c == nil {
		return s, errors.New("no sallyport.yaml is mounted")
	}
	if err := yaml.Unmarshal([]byte(c.Data["sallyport.yaml"]), &s); err != nil {
		return s, fmt.Errorf("read sallyport.yaml: %w", err)
	}
	return s, nil
}

// stopTime is how many seconds a pod may take to end.
func (f *finder) stopTime(w workload) (int64, error) {
	s, err := f.settings(w)
	if err != nil {
		return 0, err
	}
	drain := 10 * time.Second
	if s.Proxy.Drain != "" {
		if drain, err = time.ParseDuration(s.Proxy.Drain); err != nil {
			return 0, err
		}
	}
	needed := int64(drain/time.Second) + 10
	if l := w.template.Spec.Containers[0].Lifecycle; l != nil {
		needed += l.PreStop.Sleep.Seconds
	}
	return needed, nil
}

// TestPortsAreListenedOn: the ports of a pod are those that its sallyport.yaml
// listens on for others, by protocol, no more and no fewer.
func TestPortsAreListenedOn(t *testing.T) {
	for _, b := range everyBundle(t) {
		for _, w := range b.workloads() {
			if w.selector == nil {
				continue
			}
			s, err := b.settings(w)
			if err != nil {
				t.Errorf("%s: %s: %v", b.name, w.name, err)
				continue
			}
			declared := map[string]bool{}
			for _, p := range w.template.Spec.Containers[0].Ports {
				declared[fmt.Sprintf("%s :%d", p.Protocol, p.ContainerPort)] = true
			}
			want, got := slices.Sorted(maps.Keys(s.sockets())), slices.Sorted(maps.Keys(declared))
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s declares %q, and sallyport.yaml listens on %q", b.name, w.name, got, want)
			}
			if s.Policy != "/etc/sallyport/policy" || !strings.HasPrefix(s.State, "/var/lib/sallyport/") {
				t.Errorf("%s: %s: policy %q, state %q", b.name, w.name, s.Policy, s.State)
			}
		}
	}
}

// sockets are those that others than the pod itself can reach.
func (s settings) sockets() map[string]bool {
	open := map[string]bool{}
	add := func(protocol string, addresses ...string) {
		for _, a := range addresses {
			if a != "" && !strings.HasPrefix(a, "127.") {
				open[protocol+" "+a] = true
			}
		}
	}
	add("TCP", s.Admin.Listen, s.Portal.Listen)
	add("TCP", s.DNS.Listen...)
	add("UDP", s.DNS.Listen...)
	add("TCP", s.DNS.TLS.Listen...)
	add("TCP", s.DNS.HTTPS.Listen...)
	if s.DNS.HTTPS.HTTP3 {
		add("UDP", s.DNS.HTTPS.Listen...)
	}
	add("UDP", s.DNS.QUIC.Listen...)
	add("TCP", s.Proxy.Listen...)
	add("TCP", s.Proxy.SOCKS.Listen...)
	add("TCP", s.Proxy.TLS.Listen...)
	return open
}
