package check

import (
	"bytes"
	"encoding/json"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// Grafana's provisioning files, as far as they are used here. They are decoded
// strictly, so that no key is there which Grafana would pass over.
type (
	dataSources struct {
		APIVersion  int          `yaml:"apiVersion"`
		DataSources []dataSource `yaml:"datasources"`
	}
	dataSource struct {
		Name, UID, Type, Access, URL string
		IsDefault                    bool `yaml:"isDefault"`
		Editable                     bool
		JSONData                     struct {
			HTTPMethod   string `yaml:"httpMethod"`
			TimeInterval string `yaml:"timeInterval"`
		} `yaml:"jsonData"`
	}
	dashboardProviders struct {
		APIVersion int                 `yaml:"apiVersion"`
		Providers  []dashboardProvider `yaml:"providers"`
	}
	dashboardProvider struct {
		Name, Folder, Type    string
		AllowUIUpdates        bool `yaml:"allowUiUpdates"`
		DisableDeletion       bool `yaml:"disableDeletion"`
		UpdateIntervalSeconds int  `yaml:"updateIntervalSeconds"`
		Options               struct{ Path string }
	}
)

func readStrictly(t *testing.T, path string, into any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(readFile(t, path)))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// TestGrafanaFindsPrometheus fits the data source to the service that it is.
func TestGrafanaFindsPrometheus(t *testing.T) {
	project := loadCompose(t)
	var sources dataSources
	readStrictly(t, "../grafana/provisioning/datasources/prometheus.yaml", &sources)
	if sources.APIVersion != 1 || len(sources.DataSources) != 1 {
		t.Fatalf("the data sources are %+v", sources)
	}
	s := sources.DataSources[0]
	if s.Type != "prometheus" || s.Access != "proxy" || !s.IsDefault || s.URL != "http://prometheus:9090" {
		t.Errorf("the data source is %+v", s)
	}
	var prometheus struct {
		Global struct {
			ScrapeInterval string `yaml:"scrape_interval"`
		}
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "../prometheus.yml")), &prometheus); err != nil {
		t.Fatal(err)
	}
	if s.JSONData.TimeInterval != prometheus.Global.ScrapeInterval {
		t.Errorf("Grafana takes the scrape interval for %s, and it is %s", s.JSONData.TimeInterval, prometheus.Global.ScrapeInterval)
	}
	for _, pair := range [][2]string{{"grafana", "prometheus"}, {"prometheus", "sallyport"}, {"prometheus", "alertmanager"}} {
		if !shareNetwork(project.Services[pair[0]], project.Services[pair[1]]) {
			t.Errorf("%s and %s share no network", pair[0], pair[1])
		}
	}
	if shareNetwork(project.Services["employee"], project.Services["prometheus"]) {
		t.Error("clients reach Prometheus")
	}
}

func shareNetwork(a, b types.ServiceConfig) bool {
	for name := range maps.Keys(a.Networks) {
		if _, ok := b.Networks[name]; ok {
			return true
		}
	}
	return false
}

// TestGrafanaFindsDashboards wants every dashboard to be mounted where it is
// looked for, and nothing else: Grafana would take it for a dashboard.
func TestGrafanaFindsDashboards(t *testing.T) {
	var providers dashboardProviders
	readStrictly(t, "../grafana/provisioning/dashboards/sallyport.yaml", &providers)
	if providers.APIVersion != 1 || len(providers.Providers) != 1 || providers.Providers[0].Type != "file" {
		t.Fatalf("the providers are %+v", providers)
	}
	folder := providers.Providers[0].Options.Path
	grafana := loadCompose(t).Services["grafana"]
	var mounted []string
	for _, v := range grafana.Volumes {
		if path.Dir(v.Target) == folder {
			mounted = append(mounted, v.Source)
		}
	}
	all, err := filepath.Glob("../../../dashboards/*.json")
	if err != nil || len(all) == 0 {
		t.Fatalf("there are no dashboards: %v", err)
	}
	for i := range all {
		if all[i], err = filepath.Abs(all[i]); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(mounted)
	slices.Sort(all)
	if !slices.Equal(mounted, all) {
		t.Errorf("mounted are %q, there are %q", mounted, all)
	}
	home := grafana.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if home == nil || !slices.Contains(mountedAt(grafana, types.VolumeTypeBind), *home) {
		t.Errorf("the home dashboard is %v", home)
	}
	for _, path := range all {
		var dashboard struct{ UID, Title string }
		if err := json.NewDecoder(bytes.NewReader([]byte(readFile(t, path)))).Decode(&dashboard); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if dashboard.UID == "" || dashboard.Title == "" {
			t.Errorf("%s has no uid or title, and cannot be provisioned", path)
		}
	}
}
