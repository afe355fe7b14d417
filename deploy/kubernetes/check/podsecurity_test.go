package check

import (
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// admitted is what the evaluator of the API server has against a pod at a level:
// nothing, where it is admitted.
func admitted(t *testing.T, level api.Level, m meta.ObjectMeta, spec core.PodSpec) []string {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var against []string
	for _, result := range evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: api.LatestVersion()}, &m, &spec) {
		if !result.Allowed {
			against = append(against, result.ForbiddenReason+": "+result.ForbiddenDetail)
		}
	}
	return against
}

// TestRestricted: every pod is admitted where pod security is "restricted", save
// for the one set of values that takes a port of the node.
func TestRestricted(t *testing.T) {
	for _, b := range everyBundle(t) {
		for _, w := range b.workloads() {
			against := admitted(t, api.LevelRestricted, w.template.ObjectMeta, w.template.Spec)
			if b.name == "nodes" && strings.HasPrefix(w.name, "DaemonSet") {
				if len(against) != 1 || !strings.Contains(against[0], "hostPort") {
					t.Errorf("%s: %s: want nothing but the port of the node, got %q", b.name, w.name, against)
				}
				continue
			}
			for _, a := range against {
				t.Errorf("%s: %s: %s", b.name, w.name, a)
			}
		}
	}
}

// TestHardened holds what the standard does not ask for.
func TestHardened(t *testing.T) {
	for _, b := range everyBundle(t) {
		for _, w := range b.workloads() {
			spec := w.template.Spec
			if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
				t.Errorf("%s: %s mounts a token for the cluster's API, which it never asks", b.name, w.name)
			}
			if spec.HostNetwork || spec.HostPID || spec.HostIPC {
				t.Errorf("%s: %s shares the node's namespaces", b.name, w.name)
			}
			for _, c := range spec.Containers {
				s := c.SecurityContext
				if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
					t.Errorf("%s: %s can write to its image", b.name, w.name)
				}
				if s != nil && s.Capabilities != nil && len(s.Capabilities.Add) > 0 {
					t.Errorf("%s: %s has capabilities", b.name, w.name)
				}
				if _, ok := c.Resources.Limits[core.ResourceMemory]; !ok {
					t.Errorf("%s: %s may have all of a node's memory", b.name, w.name)
				}
			}
		}
	}
}

// TestRestrictedBites: the evaluator does refuse.
func TestRestrictedBites(t *testing.T) {
	b := render(t, "spoilt", inline(t, `containerSecurityContext: {capabilities: {drop: []}}`))
	spoilt := 0
	for _, w := range b.workloads() {
		spoilt += len(admitted(t, api.LevelRestricted, w.template.ObjectMeta, w.template.Spec))
	}
	if spoilt != 3 {
		t.Errorf("%d pods are refused without dropped capabilities, want the proxy's, the DNS door's and the test's", spoilt)
	}
}
