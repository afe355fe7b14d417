package check

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const kustomizeFolder = "../kustomize"

// build is `kustomize build`, with its default bounds: no file from outside.
func build(t *testing.T, folder string) bundle {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(kustomizeFolder, folder))
	if err != nil {
		t.Fatalf("%s: %v", folder, err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(text)
	if err != nil {
		t.Fatalf("%s: %v", folder, err)
	}
	return bundle{name: folder, objects: objects}
}

// everyBundle is all that this folder can give: the chart with each set of
// values, the base, every overlay.
func everyBundle(t *testing.T) []bundle {
	t.Helper()
	var bundles []bundle
	for _, set := range valueSets(t) {
		bundles = append(bundles, render(t, set, valuesOf(t, set)))
	}
	overlays, err := filepath.Glob(kustomizeFolder + "/overlays/*")
	if err != nil || len(overlays) == 0 {
		t.Fatalf("no overlays: %v", err)
	}
	bundles = append(bundles, build(t, "base"))
	for _, folder := range overlays {
		bundles = append(bundles, build(t, "overlays/"+filepath.Base(folder)))
	}
	return bundles
}

// hashed is what kustomize puts behind the name of a ConfigMap it makes.
var hashed = regexp.MustCompile(`^(sallyport-(?:proxy|dns))-[a-z0-9]{10}$`)

// TestBaseIsTheChart: who takes the base gets what the chart gives without
// values, so that one page of documentation is true of both.
func TestBaseIsTheChart(t *testing.T) {
	chart := render(t, "chart", map[string]any{"fullnameOverride": "sallyport"})
	base := build(t, "base")
	fromChart, fromBase := substance(t, chart), substance(t, base)
	for name, want := range fromChart {
		got, ok := fromBase[name]
		if !ok {
			t.Errorf("the base has no %s", name)
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is not alike.\nbase:\n%s\nchart:\n%s", name, asYAML(t, got), asYAML(t, want))
		}
	}
	for name := range fromBase {
		if _, ok := fromChart[name]; !ok && name != "Namespace sallyport" {
			t.Errorf("the chart has no %s", name)
		}
	}
}

// substance is what objects say, by their names, without what tells of the tool
// that made them.
func substance(t *testing.T, b bundle) map[string]any {
	t.Helper()
	found := map[string]any{}
	for _, o := range b.objects {
		if o.Kind == "Pod" {
			continue // helm test has no counterpart
		}
		text, err := json.Marshal(o.is)
		if err != nil {
			t.Fatal(err)
		}
		var tree map[string]any
		if err := json.Unmarshal(text, &tree); err != nil {
			t.Fatal(err)
		}
		delete(tree, "metadata")
		delete(tree, "status")
		if c, ok := o.is.(*core.ConfigMap); ok {
			tree["data"] = parsed(t, c.Data)
		}
		plain(tree)
		found[o.Kind+" "+hashed.ReplaceAllString(o.Name, "$1")] = tree
	}
	return found
}

// parsed reads the YAML in a ConfigMap: comments and order do not count.
func parsed(t *testing.T, data map[string]string) any {
	t.Helper()
	files := map[string]any{}
	for name, text := range data {
		var tree any
		if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		files[name] = tree
	}
	return files
}

// plain takes out of a tree, in place, what only one of the tools writes.
func plain(tree any) {
	switch is := tree.(type) {
	case []any:
		for _, item := range is {
			plain(item)
		}
	case map[string]any:
		if template, ok := is["template"].(map[string]any); ok {
			delete(template, "metadata") // labels are compared by the selectors
		}
		delete(is, "app.kubernetes.io/instance")
		// The chart lets its own test in, and the base has none.
		if peers, ok := is["from"].([]any); ok {
			is["from"] = slices.DeleteFunc(peers, func(peer any) bool {
				_, pods := peer.(map[string]any)["podSelector"]
				return pods
			})
		}
		for key, item := range is {
			if name, ok := item.(string); ok && key == "name" {
				is[key] = hashed.ReplaceAllString(name, "$1")
			}
			plain(item)
		}
	}
}

func asYAML(t *testing.T, tree any) string {
	t.Helper()
	text, err := yaml.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPolicyKeepsItsName: with a hash in it, an edit would replace every pod,
// and close every meeting.
func TestPolicyKeepsItsName(t *testing.T) {
	for _, folder := range []string{"base", "overlays/company"} {
		var names []string
		for _, c := range all[*core.ConfigMap](build(t, folder)) {
			if _, ok := c.Data["policy.yaml"]; ok {
				names = append(names, c.Name)
			} else if strings.HasPrefix(c.Name, "sallyport-dashboard-") {
				continue
			} else if !hashed.MatchString(c.Name) {
				t.Errorf("%s: %s has no hash in its name: an edit of sallyport.yaml would replace no pod", folder, c.Name)
			}
		}
		if !slices.Equal(names, []string{"sallyport-policy"}) {
			t.Errorf("%s: the policy's ConfigMap is called %q", folder, names)
		}
	}
}
