package check

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// object is one manifest, decoded.
type object struct {
	meta.TypeMeta
	meta.ObjectMeta
	is any // *apps.Deployment and so on
}

func (o object) String() string { return o.Kind + " " + o.Name }

// newOf makes an empty object of each API that may occur. What is not here is
// refused, as an API server refuses what it does not know.
func newOf(t meta.TypeMeta) any {
	switch t.APIVersion + " " + t.Kind {
	case "v1 ConfigMap":
		return &core.ConfigMap{}
	case "v1 Namespace":
		return &core.Namespace{}
	case "v1 Pod":
		return &core.Pod{}
	case "v1 Service":
		return &core.Service{}
	case "v1 ServiceAccount":
		return &core.ServiceAccount{}
	case "apps/v1 DaemonSet":
		return &apps.DaemonSet{}
	case "apps/v1 Deployment":
		return &apps.Deployment{}
	case "autoscaling/v2 HorizontalPodAutoscaler":
		return &autoscaling.HorizontalPodAutoscaler{}
	case "networking.k8s.io/v1 NetworkPolicy":
		return &networking.NetworkPolicy{}
	case "policy/v1 PodDisruptionBudget":
		return &policy.PodDisruptionBudget{}
	case "monitoring.coreos.com/v1 PrometheusRule":
		return &monitoring.PrometheusRule{}
	case "monitoring.coreos.com/v1 ServiceMonitor":
		return &monitoring.ServiceMonitor{}
	}
	return nil
}

// decode reads a stream of manifests, strictly: a field that an API does not
// have is an error, and so is a key that is written twice.
func decode(stream []byte) ([]object, error) {
	var objects []object
	for _, text := range documents(stream) {
		var o object
		var head struct {
			meta.TypeMeta   `json:",inline"`
			meta.ObjectMeta `json:"metadata"`
		}
		if err := yaml.Unmarshal(text, &head); err != nil {
			return nil, fmt.Errorf("read %q: %w", firstLines(text), err)
		}
		o.TypeMeta, o.ObjectMeta = head.TypeMeta, head.ObjectMeta
		if o.is = newOf(o.TypeMeta); o.is == nil {
			return nil, fmt.Errorf("%s %s: no such API is known here: %q", o.APIVersion, o.Kind, firstLines(text))
		}
		if err := yaml.UnmarshalStrict(text, o.is); err != nil {
			return nil, fmt.Errorf("%s: %w", o, err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// documents splits a stream of YAML, and leaves out what holds nothing but
// comments.
func documents(stream []byte) [][]byte {
	var all [][]byte
	for _, text := range bytes.Split(append([]byte("\n"), stream...), []byte("\n---")) {
		holds := slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
			line = strings.TrimSpace(line)
			return line != "" && !strings.HasPrefix(line, "#")
		})
		if holds {
			all = append(all, text)
		}
	}
	return all
}

func firstLines(text []byte) string {
	lines := strings.SplitN(strings.TrimSpace(string(text)), "\n", 5)
	return strings.Join(lines[:min(len(lines), 4)], "\n")
}

// bundle is what one set of values, or one overlay, gives.
type bundle struct {
	name    string
	objects []object
}

// all returns the objects of one type.
func all[T any](b bundle) []T {
	var found []T
	for _, o := range b.objects {
		if is, ok := o.is.(T); ok {
			found = append(found, is)
		}
	}
	return found
}

// workload is what makes pods.
type workload struct {
	name     string // "Deployment gate-proxy"
	selector *meta.LabelSelector
	template core.PodTemplateSpec
}

// workloads are a bundle's, and pods that stand alone.
func (b bundle) workloads() []workload {
	var found []workload
	for _, d := range all[*apps.Deployment](b) {
		found = append(found, workload{"Deployment " + d.Name, d.Spec.Selector, d.Spec.Template})
	}
	for _, d := range all[*apps.DaemonSet](b) {
		found = append(found, workload{"DaemonSet " + d.Name, d.Spec.Selector, d.Spec.Template})
	}
	for _, p := range all[*core.Pod](b) {
		found = append(found, workload{"Pod " + p.Name, nil, core.PodTemplateSpec{ObjectMeta: p.ObjectMeta, Spec: p.Spec}})
	}
	return found
}

// TestDecodeBites makes sure that strictness is strict.
func TestDecodeBites(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown field", "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {sessionAffinty: ClientIP}", "sessionAffinty"},
		{"wrong place", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, fsGroup: 1}]}", "fsGroup"},
		{"wrong type", "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: many}]}", "port"},
		{"written twice", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b, a: c}", "a"},
		{"unknown API", "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: x}", "no such API"},
		{"bad quantity", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{resources: {limits: {memory: much}}}]}", "quantit"},
	} {
		if _, err := decode([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error about %q", test.name, err, test.want)
		}
	}
}
