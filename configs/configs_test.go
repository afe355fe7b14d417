package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/gateway"
)

// TestConfigurations reads every shipped configuration: no error and no
// warning, and the policy that it names is good.
func TestConfigurations(t *testing.T) {
	for _, path := range shipped(t, "sallyport*.yaml") {
		t.Run(path, func(t *testing.T) {
			config, problems := gateway.ReadConfig(path)
			for _, p := range problems {
				t.Error(p)
			}
			if config == nil {
				return
			}
			if loaded := config.LoadPolicy(time.Now()); !loaded.OK() || len(loaded.Problems) > 0 {
				t.Errorf("something is wrong with its policy %s: %v", config.Policy, loaded.All())
			}
		})
	}
}

// TestPolicies loads every shipped policy: it compiles, lints clean, has tests
// of its own and passes them.
func TestPolicies(t *testing.T) {
	for _, path := range shipped(t, "policy*.yaml") {
		t.Run(path, func(t *testing.T) {
			loaded := gateway.LoadPolicy(path, time.Now())
			for _, p := range loaded.All() {
				t.Error(p)
			}
			if loaded.Document != nil && len(loaded.Document.Tests) == 0 {
				t.Error("it has no tests of its own")
			}
		})
	}
}

// TestSampleSaysTheDefaults removes every optional setting from the shipped
// configuration: what remains must mean the same, since the comments promise it.
func TestSampleSaysTheDefaults(t *testing.T) {
	written, problems := gateway.ReadConfig("sallyport.yaml")
	if written == nil {
		t.Fatal(problems)
	}
	bare := gateway.DefaultConfig()
	// These the sample sets on purpose: for itself alone, and for loopback alone.
	bare.Path, bare.Policy = written.Path, written.Policy
	bare.DNS.Clients, bare.Proxy.Clients = written.DNS.Clients, written.Proxy.Clients
	for _, part := range []struct {
		name        string
		got, wanted any
	}{
		{"tenant", written.Tenant, bare.Tenant},
		{"dns", written.DNS, bare.DNS},
		{"proxy", written.Proxy, bare.Proxy},
		{"admin", written.Admin, bare.Admin},
		{"portal", written.Portal, bare.Portal},
		{"audit", written.Audit, bare.Audit},
		{"log", written.Log, bare.Log},
		{"identity", written.Users, bare.Users},
		{"reload", written.Reload, bare.Reload},
	} {
		if got, wanted := fmt.Sprintf("%+v", part.got), fmt.Sprintf("%+v", part.wanted); got != wanted {
			t.Errorf("%s: the sample says\n%s\nthe default is\n%s", part.name, got, wanted)
		}
	}
}

// TestEveryFileIsTested keeps a shipped file from standing aside.
func TestEveryFileIsTested(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		if !strings.HasPrefix(name, "sallyport") && !strings.HasPrefix(name, "policy") {
			t.Errorf("%s is looked at by no test: name it sallyport*.yaml or policy*.yaml", name)
		}
	}
}

func shipped(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatalf("no %s", pattern)
	}
	return paths
}
