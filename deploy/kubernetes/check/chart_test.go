package check

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"
)

const chartFolder = "../helm/sallyport"

// valueSets are the names of the values in the chart's ci folder: "default" and
// so on.
func valueSets(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chartFolder, "ci", "*-values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 4 {
		t.Fatalf("only %d sets of values", len(files))
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), "-values.yaml"))
	}
	return names
}

func valuesOf(t *testing.T, set string) map[string]any {
	t.Helper()
	values, err := common.ReadValuesFile(filepath.Join(chartFolder, "ci", set+"-values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// inline reads values that a test writes down.
func inline(t *testing.T, text string) map[string]any {
	t.Helper()
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// template is `helm template gate`: the manifests by their template's path, and
// NOTES.txt among them.
func template(t *testing.T, values map[string]any) (map[string]string, error) {
	t.Helper()
	chart, err := loader.LoadDir(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.KubeVersion = common.KubeVersion{Version: "v1.30.0", Major: "1", Minor: "30"}
	release := common.ReleaseOptions{Name: "gate", Namespace: "sallyport", Revision: 1, IsInstall: true}
	given, err := util.ToRenderValues(chart, values, release, capabilities)
	if err != nil {
		return nil, err
	}
	return engine.Engine{Strict: true}.Render(chart, given)
}

// render is template, decoded.
func render(t *testing.T, name string, values map[string]any) bundle {
	t.Helper()
	files, err := template(t, values)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	b := bundle{name: name}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if base := path.Base(file); base == "NOTES.txt" || strings.HasPrefix(base, "_") {
			continue
		}
		objects, err := decode([]byte(files[file]))
		if err != nil {
			t.Fatalf("%s: %s: %v", name, file, err)
		}
		b.objects = append(b.objects, objects...)
	}
	return b
}

// TestLint is helm lint --strict, with each set of values: a warning fails.
func TestLint(t *testing.T) {
	for _, set := range valueSets(t) {
		linter := lint.RunAll(chartFolder, valuesOf(t, set), "sallyport")
		for _, m := range linter.Messages {
			if m.Severity >= support.WarningSev {
				t.Errorf("%s: %s", set, m)
			}
		}
	}
}

// TestNotes: what an administrator reads after the installation names what is
// there, and what is missing.
func TestNotes(t *testing.T) {
	for _, test := range []struct {
		set        string
		want, hide []string
	}{
		{"default", []string{"gate-sallyport-proxy.sallyport.svc:3128", "gate-sallyport-dns.sallyport.svc:53 (ClusterIP, DaemonSet)",
			"helm test gate -n sallyport", "EXAMPLE", "portal.url is empty", "secrets.coaching is empty", "secrets.cookies is empty"}, nil},
		{"everything", []string{"gate-proxy.sallyport.svc:3128 (LoadBalancer)"}, []string{"is empty"}},
		{"nodes", []string{"ConfigMap our-policy"}, []string{"proxy door", "curl", "EXAMPLE"}},
		{"proxies", []string{"curl -i -x http://gate-sallyport-proxy"}, []string{"DNS door", "dig", "portal"}},
	} {
		files, err := template(t, valuesOf(t, test.set))
		if err != nil {
			t.Fatal(err)
		}
		notes := files["sallyport/templates/NOTES.txt"]
		for _, want := range test.want {
			if !strings.Contains(notes, want) {
				t.Errorf("%s: the notes lack %q:\n%s", test.set, want, notes)
			}
		}
		for _, hide := range test.hide {
			if strings.Contains(notes, hide) {
				t.Errorf("%s: the notes should not speak of %q:\n%s", test.set, hide, notes)
			}
		}
		if strings.Contains(notes, "\n\n\n") {
			t.Errorf("%s: the notes have gaps:\n%s", test.set, notes)
		}
	}
}

// TestTwiceTheSame: tools that render again and compare, such as Argo CD, would
// see a change for ever where anything were made up.
func TestTwiceTheSame(t *testing.T) {
	for _, set := range valueSets(t) {
		first, err := template(t, valuesOf(t, set))
		if err != nil {
			t.Fatal(err)
		}
		second, err := template(t, valuesOf(t, set))
		if err != nil {
			t.Fatal(err)
		}
		for file, text := range first {
			if second[file] != text {
				t.Errorf("%s: %s comes out otherwise the second time", set, file)
			}
		}
	}
}

// TestMain is here so that a wrong folder says so at once.
func TestMain(m *testing.M) {
	if _, err := os.Stat(chartFolder); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
