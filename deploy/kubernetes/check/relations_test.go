package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

// faults are what is wrong between the objects of a bundle: an API server takes
// each of them, and the cluster then does nothing, or something else.
func faults(b bundle) []string {
	f := &finder{bundle: b}
	f.names()
	f.selectors()
	f.services()
	f.volumes()
	f.probes()
	f.budgets()
	f.autoscalers()
	f.networkPolicies()
	f.monitors()
	f.graces()
	return f.found
}

type finder struct {
	bundle
	found []string
}

func (f *finder) add(format string, args ...any) {
	f.found = append(f.found, fmt.Sprintf(format, args...))
}

// names are what an API server takes for names and labels, and no two objects
// have the same.
func (f *finder) names() {
	seen := map[string]bool{}
	for _, o := range f.objects {
		if seen[o.String()] {
			f.add("%s is there twice", o)
		}
		seen[o.String()] = true
		if bad := validation.IsDNS1123Subdomain(o.Name); len(bad) > 0 {
			f.add("%s: %q", o, bad)
		}
		if o.Kind == "Service" {
			if bad := validation.IsDNS1035Label(o.Name); len(bad) > 0 {
				f.add("%s: %q", o, bad)
			}
		}
		if o.Namespace != "sallyport" && o.Kind != "Namespace" {
			f.add("%s is in namespace %q", o, o.Namespace)
		}
		f.labels(o.String(), o.Labels)
	}
	for _, w := range f.workloads() {
		f.labels(w.name+"'s pods", w.template.Labels)
	}
}

func (f *finder) labels(of string, all map[string]string) {
	for key, value := range all {
		if bad := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(bad) > 0 {
			f.add("%s: label %s=%s: %q", of, key, value, bad)
		}
	}
}

// selected are the workloads whose pods a selector finds.
func (f *finder) selected(s labels.Selector) []workload {
	var found []workload
	for _, w := range f.workloads() {
		if s.Matches(labels.Set(w.template.Labels)) {
			found = append(found, w)
		}
	}
	return found
}

// one is the workload that a selector finds, which must be the only one.
func (f *finder) one(who string, s labels.Selector) (workload, bool) {
	found := f.selected(s)
	if len(found) != 1 || s.Empty() {
		f.add("%s selects the pods of %d workloads by %q", who, len(found), s)
		return workload{}, false
	}
	return found[0], true
}

func asSelector(s *meta.LabelSelector) labels.Selector {
	is, err := meta.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return is
}

func (f *finder) selectors() {
	for _, w := range f.workloads() {
		if w.selector == nil {
			continue // a pod by itself
		}
		if mine, ok := f.one(w.name, asSelector(w.selector)); ok && mine.name != w.name {
			f.add("%s selects the pods of %s", w.name, mine.name)
		}
		for _, spread := range w.template.Spec.TopologySpreadConstraints {
			if mine, ok := f.one(w.name+"'s topology spread", asSelector(spread.LabelSelector)); ok && mine.name != w.name {
				f.add("%s spreads the pods of %s", w.name, mine.name)
			}
		}
	}
}

// port finds a pod's port by the name or number that somebody refers to.
func port(spec core.PodSpec, target intstr.IntOrString) (core.ContainerPort, bool) {
	for _, c := range spec.Containers {
		for _, p := range c.Ports {
			if target.Type == intstr.String && p.Name == target.StrVal || target.Type == intstr.Int && p.ContainerPort == target.IntVal {
				return p, true
			}
		}
	}
	return core.ContainerPort{}, false
}

func (f *finder) services() {
	for _, s := range all[*core.Service](f.bundle) {
		who := "Service " + s.Name
		w, ok := f.one(who, labels.SelectorFromSet(s.Spec.Selector))
		if !ok {
			continue
		}
		taken := map[string]bool{}
		for _, p := range s.Spec.Ports {
			at, ok := port(w.template.Spec, p.TargetPort)
			if !ok || at.Protocol != p.Protocol {
				f.add("%s: port %s leads to %s %s, which %s has not", who, p.Name, p.Protocol, p.TargetPort.String(), w.name)
			}
			socket := fmt.Sprint(p.Protocol, p.Port)
			if bad := validation.IsValidPortName(p.Name); len(bad) > 0 || taken[p.Name] || taken[socket] {
				f.add("%s: port %s %s is not valid, or there twice: %q", who, p.Name, socket, bad)
			}
			taken[p.Name], taken[socket] = true, true
		}
		if s.Spec.Type == core.ServiceTypeClusterIP && s.Spec.ExternalTrafficPolicy != "" {
			f.add("%s: externalTrafficPolicy is not for ClusterIP", who)
		}
	}
}

func (f *finder) volumes() {
	configMaps := map[string]bool{}
	for _, c := range all[*core.ConfigMap](f.bundle) {
		configMaps[c.Name] = true
	}
	for _, w := range f.workloads() {
		volumes := map[string]int{}
		for _, v := range w.template.Spec.Volumes {
			volumes[v.Name] = 0
			if v.ConfigMap != nil && !configMaps[v.ConfigMap.Name] && v.ConfigMap.Name != "our-policy" && v.ConfigMap.Name != "gate-lists" {
				f.add("%s: nobody makes the ConfigMap %s", w.name, v.ConfigMap.Name)
			}
			if v.Secret != nil && (v.Secret.DefaultMode == nil || *v.Secret.DefaultMode != 0o400) {
				f.add("%s: volume %s can be read by everybody in the pod", w.name, v.Name)
			}
		}
		for _, c := range w.template.Spec.Containers {
			places := map[string]bool{}
			for _, m := range c.VolumeMounts {
				if _, ok := volumes[m.Name]; !ok {
					f.add("%s: %s is mounted, and no volume", w.name, m.Name)
				}
				volumes[m.Name]++
				if m.SubPath != "" {
					f.add("%s: %s is mounted by subPath, which never hears of an edit", w.name, m.Name)
				}
				if places[m.MountPath] {
					f.add("%s: two volumes at %s", w.name, m.MountPath)
				}
				places[m.MountPath] = true
			}
		}
		for _, name := range slices.Sorted(maps.Keys(volumes)) {
			if volumes[name] == 0 {
				f.add("%s: volume %s is mounted nowhere", w.name, name)
			}
		}
	}
}

func (f *finder) probes() {
	for _, w := range f.workloads() {
		if w.selector == nil {
			continue
		}
		c := w.template.Spec.Containers[0]
		for path, p := range map[string]*core.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe, "/healthz ": c.StartupProbe} {
			if p == nil || p.HTTPGet == nil || p.HTTPGet.Path != strings.TrimSpace(path) {
				f.add("%s: a probe does not ask %s", w.name, path)
				continue
			}
			if at, ok := port(w.template.Spec, p.HTTPGet.Port); !ok || at.ContainerPort != 9180 {
				f.add("%s: the probe of %s asks port %s", w.name, path, p.HTTPGet.Port.String())
			}
		}
		taken := map[string]bool{}
		for _, p := range c.Ports {
			socket := fmt.Sprint(p.Protocol, p.ContainerPort)
			if bad := validation.IsValidPortName(p.Name); len(bad) > 0 || taken[p.Name] || taken[socket] || p.ContainerPort < 1024 {
				f.add("%s: port %s %s is not valid, there twice or privileged: %q", w.name, p.Name, socket, bad)
			}
			taken[p.Name], taken[socket] = true, true
		}
	}
}

func (f *finder) budgets() {
	for _, b := range all[*policy.PodDisruptionBudget](f.bundle) {
		if w, ok := f.one("PodDisruptionBudget "+b.Name, asSelector(b.Spec.Selector)); ok && !strings.HasPrefix(w.name, "Deployment ") {
			f.add("PodDisruptionBudget %s is for %s, whose pods are not evicted", b.Name, w.name)
		}
	}
}

func (f *finder) autoscalers() {
	for _, h := range all[*autoscaling.HorizontalPodAutoscaler](f.bundle) {
		target := h.Spec.ScaleTargetRef.Kind + " " + h.Spec.ScaleTargetRef.Name
		i := slices.IndexFunc(f.workloads(), func(w workload) bool { return w.name == target })
		if i < 0 {
			f.add("HorizontalPodAutoscaler %s scales %s, which is not there", h.Name, target)
			continue
		}
		for _, m := range h.Spec.Metrics {
			requested := f.workloads()[i].template.Spec.Containers[0].Resources.Requests
			if _, ok := requested[core.ResourceCPU]; m.Resource != nil && !ok {
				f.add("HorizontalPodAutoscaler %s: %s requests no processor of which there could be a part", h.Name, target)
			}
		}
		if len(h.Spec.Metrics) == 0 || h.Spec.MinReplicas == nil || *h.Spec.MinReplicas > h.Spec.MaxReplicas {
			f.add("HorizontalPodAutoscaler %s cannot scale", h.Name)
		}
	}
}

// networkPolicies let clients to every port of the pods but the admin one, and
// to that nobody whom they do not name.
func (f *finder) networkPolicies() {
	for _, n := range all[*networking.NetworkPolicy](f.bundle) {
		who := "NetworkPolicy " + n.Name
		w, ok := f.one(who, asSelector(&n.Spec.PodSelector))
		if !ok {
			continue
		}
		open := map[string]bool{}
		for _, rule := range n.Spec.Ingress {
			if len(rule.Ports) == 0 {
				f.add("%s opens every port", who)
			}
			for _, p := range rule.Ports {
				at, ok := port(w.template.Spec, *p.Port)
				if !ok {
					f.add("%s opens port %s, which %s has not", who, p.Port.String(), w.name)
				}
				if at.Name == "admin" && len(rule.From) == 0 {
					f.add("%s opens the admin port to everybody", who)
				}
				open[fmt.Sprint(*p.Protocol, p.Port.IntVal)] = true
			}
		}
		for _, p := range w.template.Spec.Containers[0].Ports {
			if !open[fmt.Sprint(p.Protocol, p.ContainerPort)] {
				f.add("%s keeps everybody from port %s", who, p.Name)
			}
		}
		if len(n.Spec.PolicyTypes) != 2 || len(n.Spec.Egress) == 0 {
			f.add("%s does not bound what goes out, or lets nothing out", who)
		}
		for _, rule := range n.Spec.Egress {
			f.privateNetworks(who, rule)
		}
	}
}

// privateNetworks may be reached for DNS alone: resolvers are often there, and nothing
// else that the gateway asks by itself.
func (f *finder) privateNetworks(who string, rule networking.NetworkPolicyEgressRule) {
	for _, to := range rule.To {
		if to.IPBlock != nil && strings.HasSuffix(to.IPBlock.CIDR, "/0") && len(to.IPBlock.Except) == 0 {
			f.add("%s opens private networks in %s", who, to.IPBlock.CIDR)
		}
	}
	if len(rule.To) > 0 {
		return
	}
	if len(rule.Ports) == 0 {
		f.add("%s lets everything out", who)
	}
	for _, p := range rule.Ports {
		if p.Port == nil || p.Port.IntVal != 53 && p.Port.IntVal != 853 {
			f.add("%s opens port %s of private networks", who, p.Port.String())
		}
	}
}

func (f *finder) monitors() {
	for _, m := range all[*monitoring.ServiceMonitor](f.bundle) {
		found := 0
		for _, s := range all[*core.Service](f.bundle) {
			if !asSelector(&m.Spec.Selector).Matches(labels.Set(s.Labels)) {
				continue
			}
			found++
			if s.Labels[m.Spec.JobLabel] != "sallyport" {
				f.add("ServiceMonitor %s: the job of %s is %q, and rules and dashboards ask for sallyport", m.Name, s.Name, s.Labels[m.Spec.JobLabel])
			}
			if !slices.ContainsFunc(s.Spec.Ports, func(p core.ServicePort) bool { return p.Name == m.Spec.Endpoints[0].Port }) {
				f.add("ServiceMonitor %s: %s has no port %s", m.Name, s.Name, m.Spec.Endpoints[0].Port)
			}
		}
		for _, label := range []string{"instance", "fleet", "component"} {
			if !slices.ContainsFunc(m.Spec.Endpoints[0].RelabelConfigs, func(r monitoring.RelabelConfig) bool { return r.TargetLabel == label }) {
				f.add("ServiceMonitor %s does not set the label %s, which the alerts group by", m.Name, label)
			}
		}
		workloads := 0
		for _, w := range f.workloads() {
			if w.selector != nil {
				workloads++
			}
		}
		if found != workloads {
			f.add("ServiceMonitor %s finds %d Services for %d workloads", m.Name, found, workloads)
		}
	}
}

// graces give a pod the time to serve on, to drain and to end.
func (f *finder) graces() {
	for _, w := range f.workloads() {
		if w.selector == nil {
			continue
		}
		needed, err := f.stopTime(w)
		if err != nil {
			f.add("%s: %v", w.name, err)
			continue
		}
		if given := w.template.Spec.TerminationGracePeriodSeconds; given == nil || *given < needed {
			f.add("%s is killed while it drains: it may need %d s", w.name, needed)
		}
	}
}

// TestRelations holds the rules for all that there is.
func TestRelations(t *testing.T) {
	for _, b := range everyBundle(t) {
		for _, fault := range faults(b) {
			t.Errorf("%s: %s", b.name, fault)
		}
	}
}
