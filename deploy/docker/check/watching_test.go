package check

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// mountedFiles copies what a service mounts to a folder, at the same places, and
// replaces texts in it.
func mountedFiles(t *testing.T, s types.ServiceConfig, replacer *strings.Replacer) string {
	t.Helper()
	root := t.TempDir()
	for _, v := range s.Volumes {
		to := filepath.Join(root, v.Target)
		if v.Type == types.VolumeTypeVolume {
			if err := os.MkdirAll(to, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(replacer.Replace(readFile(t, v.Source))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// inRoot is a service's command with its paths below root instead of /.
func inRoot(s types.ServiceConfig, root string) []string {
	var args []string
	for _, arg := range s.Command {
		args = append(args, strings.Replace(arg, "=/", "="+root+"/", 1))
	}
	return args
}

// TestConfigurationsAreGood has each program's own tool read its configuration.
func TestConfigurationsAreGood(t *testing.T) {
	services := loadCompose(t).Services
	asIs := strings.NewReplacer()
	t.Run("prometheus", func(t *testing.T) {
		promtool := need(t, "promtool")
		root := mountedFiles(t, services["prometheus"], asIs)
		out := mustRun(t, promtool, "check", "config", filepath.Join(root, "etc/prometheus/prometheus.yml"))
		if strings.Count(out, "rules found") != 2 {
			t.Errorf("promtool says %s", out)
		}
	})
	t.Run("alertmanager", func(t *testing.T) {
		amtool := need(t, "amtool")
		root := mountedFiles(t, services["alertmanager"], asIs)
		mustRun(t, amtool, "check-config", filepath.Join(root, "etc/alertmanager/alertmanager.yml"))
	})
}

// TestAlertmanagerRoutesAsTheSample keeps the two configurations one.
func TestAlertmanagerRoutesAsTheSample(t *testing.T) {
	type shared struct {
		Route        any
		InhibitRules any `yaml:"inhibit_rules"`
	}
	var ours, sample shared
	for path, into := range map[string]*shared{"../alertmanager.yml": &ours, "../../../dashboards/alertmanager.yaml": &sample} {
		if err := yaml.Unmarshal([]byte(readFile(t, path)), into); err != nil {
			t.Fatal(err)
		}
	}
	if ours.Route == nil || ours.InhibitRules == nil || !reflect.DeepEqual(ours, sample) {
		t.Error("alertmanager.yml routes or inhibits otherwise than dashboards/alertmanager.yaml")
	}
}

// TestWatching runs sallyport, Prometheus and Alertmanager with the files and
// flags of compose.yaml, addresses apart: they find each other, and each one's
// health check is good while it runs and bad afterwards.
func TestWatching(t *testing.T) {
	prometheus, alertmanager := need(t, "prometheus"), need(t, "prometheus-alertmanager")
	need(t, "promtool")
	need(t, "amtool")
	services := loadCompose(t).Services
	// Where compose.yaml has each, and where it is here.
	here := map[string]string{
		"sallyport:9180": freeAddress(t), "127.0.0.1:9090": freeAddress(t), "alertmanager:9093": freeAddress(t),
	}
	here["127.0.0.1:9180"], here["127.0.0.1:9093"] = here["sallyport:9180"], here["alertmanager:9093"]
	var pairs []string
	for from, to := range here {
		pairs = append(pairs, from, to)
	}
	replacer := strings.NewReplacer(slices.Concat(pairs, []string{"15s", "1s"})...)
	env := []string{"PATH=" + os.Getenv("PATH")}

	gatewayRoot := t.TempDir()
	copyFiles(t, "../../../configs", filepath.Join(gatewayRoot, "etc/sallyport-policy"))
	config := filepath.Join(gatewayRoot, "etc/sallyport/sallyport.yaml")
	copyFiles(t, "../sallyport", filepath.Dir(config))
	text := strings.NewReplacer(
		"/var/lib/sallyport", filepath.Join(gatewayRoot, "state"),
		`":9180"`, strconv.Quote(here["sallyport:9180"]),
		`":1053"`, `"127.0.0.1:0"`, `":3128"`, `"127.0.0.1:0"`, `":8080"`, `"127.0.0.1:0"`,
	).Replace(readFile(t, config))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	running := map[string]*child{}
	running["sallyport"] = spawn(t, env, builtProgram(t), "serve", "--config", config)

	root := mountedFiles(t, services["alertmanager"], replacer)
	running["alertmanager"] = spawn(t, env, slices.Concat([]string{alertmanager},
		inRoot(services["alertmanager"], root), []string{"--web.listen-address=" + here["127.0.0.1:9093"]})...)
	root = mountedFiles(t, services["prometheus"], replacer)
	running["prometheus"] = spawn(t, env, slices.Concat([]string{prometheus},
		inRoot(services["prometheus"], root), []string{"--web.listen-address=" + here["127.0.0.1:9090"]})...)

	healthy := func(service string) error {
		test := services[service].HealthCheck.Test
		var args []string
		for _, arg := range test[1:] {
			args = append(args, replacer.Replace(arg))
		}
		if service == "sallyport" {
			args[0] = builtProgram(t)
		}
		if r := run(t, args...); r.code != 0 {
			return fmt.Errorf("%q: exit status %d: %s%s", args, r.code, r.stdout, r.stderr)
		}
		return nil
	}
	for _, service := range slices.Sorted(maps.Keys(running)) {
		eventually(t, service+" is healthy", func() error {
			if !running[service].running() {
				t.Fatalf("%s has ended", service)
			}
			return healthy(service)
		})
	}
	api := "http://" + here["127.0.0.1:9090"] + "/api/v1/"
	eventually(t, "Prometheus scrapes all three", func() error {
		return wantAnswer(t, api+"query?query=sum(up)", "3")
	})
	eventually(t, "the gateway's policy is seen", func() error {
		return wantAnswer(t, api+"query?query=count(sallyport_policy_info{job=%22sallyport%22})", "1")
	})
	eventually(t, "a recording rule has been evaluated", func() error {
		return wantAnswer(t, api+"query?query=count(instance:sallyport_dns_queries:rate5m)", "1")
	})
	eventually(t, "Prometheus knows the Alertmanager", func() error {
		out := mustRun(t, need(t, "curl"), "-s", api+"alertmanagers")
		if !strings.Contains(out, here["127.0.0.1:9093"]) {
			return fmt.Errorf("it says %s", out)
		}
		return nil
	})
	for _, service := range slices.Sorted(maps.Keys(running)) {
		if code := running[service].stop(t); code != 0 {
			t.Errorf("%s stopped with exit status %d", service, code)
		}
		if healthy(service) == nil {
			t.Errorf("%s is gone, and healthy", service)
		}
	}
}

// wantAnswer asks Prometheus for one value.
func wantAnswer(t *testing.T, url, want string) error {
	t.Helper()
	var reply struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	out := mustRun(t, need(t, "curl"), "-s", "-g", url)
	if err := json.Unmarshal([]byte(out), &reply); err != nil {
		return fmt.Errorf("%w in %s", err, out)
	}
	if len(reply.Data.Result) != 1 || reply.Data.Result[0].Value[1] != want {
		return fmt.Errorf("it says %s", out)
	}
	return nil
}

// freeAddress is an address of loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
