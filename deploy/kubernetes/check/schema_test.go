package check

import (
	"strings"
	"testing"
)

// TestRefusedValues: what cannot work is refused by `helm install`, by the schema
// or by a template that says what to do.
func TestRefusedValues(t *testing.T) {
	for _, test := range []struct{ values, want string }{
		{"proxi: {}", "proxi"},
		{"proxy: {replica: 3}", "replica"},
		{"proxy: {replicas: many}", "replicas"},
		{"proxy: {replicas: -1}", "replicas"},
		{"proxy: {drainSeconds: 10m}", "drainSeconds"},
		{"proxy: {drainSeconds: 1000000}", "drainSeconds"},
		{"proxy: {service: {type: ExternalName}}", "type"},
		{"proxy: {service: {externalTrafficPolicy: local}}", "externalTrafficPolicy"},
		{"proxy: {service: {loadBalancerSourceRanges: [anywhere]}}", "loadBalancerSourceRanges"},
		{"proxy: {resources: {limits: {memory: much}}}", "memory"},
		{"proxy: {resources: {limit: {memory: 1Gi}}}", "limit"},
		{"proxy: {podAnnotations: {a: 1}}", "podAnnotations"},
		{"dns: {workload: StatefulSet}", "workload"},
		{"dns: {hostPort: 70000}", "hostPort"},
		{"dns: {hostNetwork: true}", "hostNetwork"},
		{"image: {digest: latest}", "digest"},
		{"policy: {files: {policy.yml: x}}", "policy.yml"},
		{"policy: {files: {.hidden.yaml: x}}", "hidden"},
		{"policy: {existingConfigMap: Our_Policy}", "existingConfigMap"},
		{"config: {policy: other.yaml}", "policy"},
		{"config: {admin: {listen: ':80'}}", "admin"},
		{"config: {dns: {listen: [':53']}}", "listen"},
		{"config: {proxy: {transparent: {listen: [':3129']}}}", "transparent"},
		{"config: {proxy: {interception: {ca: ca.crt}}}", "ca"},
		{"portal: {url: gate.corp.example}", "url"},
		{"secrets: {cookie: x}", "cookie"},
		{"monitoring: {serviceMonitor: {interval: often}}", "interval"},
		{"dnsPolicy: None", "dnsPolicy"},

		{"dns: {listeners: {tls: true}}", "secrets.dnsTLS"},
		{"{dns: {listeners: {http3: true}}, secrets: {dnsTLS: x}}", "set dns.listeners.https too"},
		{"proxy: {listeners: {tls: true}}", "secrets.proxyTLS"},
		{"dns: {portal: true}", "portal.addresses"},
		{"dns: {workload: Deployment, hostPort: 53}", "DaemonSet"},
		{"{dns: {workload: Proxy}, proxy: {enabled: false}}", "set proxy.enabled"},
		{"{dns: {enabled: false}, proxy: {enabled: false}}", "neither door"},
		{"proxy: {autoscaling: {cpuPercent: 0}}", "nothing to go by"},
		{"proxy: {state: {persistentVolumeClaim: {claimName: x}}}", "one pod's"},
	} {
		if _, err := template(t, inline(t, test.values)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error about %q", test.values, err, test.want)
		}
	}
}

// TestFaultsBite spoils the chart's output by values that the schema cannot
// judge, and expects the rules to see it.
func TestFaultsBite(t *testing.T) {
	for _, test := range []struct{ values, want string }{
		{"extraVolumes: [{name: lost, emptyDir: {}}]", "mounted nowhere"},
		{"extraVolumeMounts: [{name: none, mountPath: /x}]", "and no volume"},
		{"extraVolumes: [{name: open, secret: {secretName: x}}]", "read by everybody"},
		{"extraVolumes: [{name: a, configMap: {name: nobody}}]", "nobody makes"},
		{"{extraVolumes: [{name: a, emptyDir: {}}], extraVolumeMounts: [{name: a, mountPath: /x, subPath: y}]}", "subPath"},
		{"{extraVolumes: [{name: a, emptyDir: {}}], extraVolumeMounts: [{name: a, mountPath: /etc/sallyport/policy}]}", "two volumes"},
		{"commonLabels: {\"not a key\": x}", "label"},
		{"proxy: {podLabels: {a: \"not a value\"}}", "label"},
		{"proxy: {service: {port: 80}}", "there twice"},
		{"proxy: {autoscaling: {minReplicas: 20}}", "cannot scale"},
		{"proxy: {resources: {requests: {cpu: null}}}", "requests no processor"},
		{"networkPolicy: {resolverEgress: [{ports: [{protocol: TCP, port: 443}]}]}", "port 443 of private networks"},
		{"networkPolicy: {resolverEgress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}", "private networks in 0.0.0.0/0"},
	} {
		var found []string
		for _, fault := range faults(render(t, test.values, inline(t, test.values))) {
			if strings.Contains(fault, test.want) {
				found = append(found, fault)
			}
		}
		if len(found) == 0 {
			t.Errorf("%s: no fault speaks of %q", test.values, test.want)
		}
	}
}
