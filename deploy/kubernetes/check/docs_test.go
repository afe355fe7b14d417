package check

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestDocumentedValues renders the values that docs/kubernetes.md shows.
func TestDocumentedValues(t *testing.T) {
	_, after, found := strings.Cut(string(readFile(t, "../../../docs/kubernetes.md")), "```yaml\n")
	text, _, closed := strings.Cut(after, "```")
	if !found || !closed {
		t.Fatal("the page shows no values")
	}
	b := render(t, "documented", inline(t, text))
	for _, fault := range faults(b) {
		if !strings.Contains(fault, "our-policy") {
			t.Error(fault)
		}
	}
}

// TestAdapterMetric: the autoscaler asks for a metric that there is, by the name
// that the adapter's rule gives it.
func TestAdapterMetric(t *testing.T) {
	var file struct {
		Rules struct {
			Custom []struct {
				SeriesQuery string `json:"seriesQuery"`
				Resources   struct {
					Overrides map[string]struct {
						Resource string `json:"resource"`
					} `json:"overrides"`
				} `json:"resources"`
				MetricsQuery string `json:"metricsQuery"`
			} `json:"custom"`
		} `json:"rules"`
	}
	if err := yaml.UnmarshalStrict(readFile(t, "../prometheus-adapter.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Rules.Custom) != 1 {
		t.Fatalf("%d rules", len(file.Rules.Custom))
	}
	rule := file.Rules.Custom[0]
	name, _, _ := strings.Cut(rule.SeriesQuery, "{")
	if !strings.Contains(string(readFile(t, "../../../docs/metrics.md")), "| `"+name+"` | gauge |") {
		t.Errorf("%s is no gauge of the gateway", name)
	}
	for label, to := range rule.Resources.Overrides {
		if !strings.Contains(rule.SeriesQuery, label+`!=""`) || to.Resource != label {
			t.Errorf("label %s leads to %s, and is not asked for", label, to.Resource)
		}
	}
	files, err := template(t, valuesOf(t, "everything"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(files["sallyport/templates/proxy-hpa.yaml"], "metric: {name: "+name+"}") {
		t.Errorf("the autoscaler asks for another metric than %s", name)
	}
}
