package check

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the copies that the chart and the kustomize bases carry")

const (
	dashboardsFolder = "../../../dashboards"
	chartDashboards  = chartFolder + "/files/dashboards"
	monitoringFolder = "../kustomize/components/monitoring"
)

// copies are files by where they belong, and what must be in them. Helm reads
// nothing outside of its chart, nor kustomize outside of its folder, so that
// what the repository has once must be there a second time.
func copies(t *testing.T) map[string][]byte {
	t.Helper()
	wanted := map[string][]byte{
		chartFolder + "/files/policy.yaml":        readFile(t, "../../../configs/policy.yaml"),
		"../kustomize/base/policy/policy.yaml":    readFile(t, "../../../configs/policy.yaml"),
		chartFolder + "/files/rules.yaml":         readFile(t, dashboardsFolder+"/rules.yaml"),
		chartFolder + "/files/alerts.yaml":        readFile(t, dashboardsFolder+"/alerts.yaml"),
		monitoringFolder + "/prometheusrule.yaml": prometheusRule(t),
		chartDashboards + "/kustomization.yaml":   dashboardConfigMaps(t),
	}
	for _, path := range dashboards(t) {
		wanted[chartDashboards+"/"+filepath.Base(path)] = readFile(t, path)
	}
	return wanted
}

func dashboards(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(dashboardsFolder + "/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no dashboard in %s: %v", dashboardsFolder, err)
	}
	return paths
}

// prometheusRule is the recording rules and alerts as the operator takes them.
func prometheusRule(t *testing.T) []byte {
	t.Helper()
	out := bytes.NewBufferString(madeBy("dashboards/rules.yaml and dashboards/alerts.yaml") +
		"apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: sallyport\nspec:\n  groups:\n")
	for _, name := range []string{"rules.yaml", "alerts.yaml"} {
		var file struct {
			Groups []any `json:"groups"`
		}
		if err := yaml.Unmarshal(readFile(t, filepath.Join(dashboardsFolder, name)), &file); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, err := yaml.Marshal(file.Groups)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if line != "\n" {
				line = "    " + line
			}
			out.WriteString(line)
		}
	}
	return out.Bytes()
}

// dashboardConfigMaps makes a ConfigMap of every dashboard beside it.
func dashboardConfigMaps(t *testing.T) []byte {
	t.Helper()
	out := bytes.NewBufferString(madeBy("the dashboards beside it") +
		"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n" +
		"generatorOptions:\n  # By name, not by content: Grafana's sidecar follows an edit.\n  disableNameSuffixHash: true\n" +
		"  labels: {grafana_dashboard: \"1\"}\nconfigMapGenerator:\n")
	for _, path := range dashboards(t) {
		name := filepath.Base(path)
		fmt.Fprintf(out, "  - name: sallyport-dashboard-%s\n    files: [%s]\n", strings.TrimSuffix(name, ".json"), name)
	}
	return out.Bytes()
}

func madeBy(from string) string {
	return "# Made by `make kubernetes-files` from " + from + ".\n"
}

// TestCopies compares every copy, and finds dashboards that are there no more.
// With -update it writes them.
func TestCopies(t *testing.T) {
	wanted := copies(t)
	present, err := filepath.Glob(chartDashboards + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range present {
		if _, ok := wanted[path]; ok {
			continue
		}
		if !*update {
			t.Errorf("%s is a copy of nothing: run make kubernetes-files", path)
		} else if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range wanted {
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		switch got, err := os.ReadFile(path); {
		case err != nil:
			t.Errorf("a copy is not there: run make kubernetes-files: %v", err)
		case !bytes.Equal(got, want):
			t.Errorf("%s is not what it is a copy of: run make kubernetes-files", path)
		}
	}
}

// TestDashboardNames: a ConfigMap is named after its file.
func TestDashboardNames(t *testing.T) {
	for _, path := range dashboards(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		bad := slices.ContainsFunc([]rune(name), func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') })
		if bad || len(name) > 200 {
			t.Errorf("%s: a dashboard's file is named with a to z, digits and -", path)
		}
		if info, err := os.Stat(path); err != nil || info.Size() > 900<<10 {
			t.Errorf("%s: a ConfigMap holds no more than 1 MiB (%v)", path, err)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
