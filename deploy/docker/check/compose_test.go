package check

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/reference"
	"go.yaml.in/yaml/v4"
)

// loadCompose reads compose.yaml as `docker compose` does, with every profile.
func loadCompose(t *testing.T, env ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../compose.yaml"},
		cli.WithEnv(env), cli.WithProfiles([]string{"demo"}), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// TestComposeServices wants the services that the documentation names, the client
// only where it is asked for.
func TestComposeServices(t *testing.T) {
	all := []string{"alertmanager", "employee", "grafana", "prometheus", "sallyport"}
	project := loadCompose(t)
	if got := project.ServiceNames(); !slices.Equal(got, all) {
		t.Errorf("the services are %v", got)
	}
	if got := project.Services["employee"].Profiles; !slices.Equal(got, []string{"demo"}) {
		t.Errorf("the employee has the profiles %v", got)
	}
	for name, s := range project.Services {
		if name != "employee" && len(s.Profiles) > 0 {
			t.Errorf("%s is in the profiles %v", name, s.Profiles)
		}
	}
}

// TestComposeConfines wants every service without privileges.
func TestComposeConfines(t *testing.T) {
	for name, s := range loadCompose(t).Services {
		switch {
		case !s.ReadOnly:
			t.Errorf("%s may write to its image", name)
		case !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged:
			t.Errorf("%s has capabilities: all but %v, and %v", name, s.CapDrop, s.CapAdd)
		case !slices.Equal(s.SecurityOpt, []string{"no-new-privileges=true"}):
			t.Errorf("%s has the security options %v", name, s.SecurityOpt)
		case s.NetworkMode != "" || s.Pid != "" || s.Ipc != "" || s.UserNSMode != "" || len(s.Devices) > 0:
			t.Errorf("%s shares something with the machine", name)
		case s.PidsLimit == 0 || s.Logging == nil || s.Logging.Options["max-size"] == "":
			t.Errorf("%s has no limit to processes or logs", name)
		case name == "sallyport" && s.User != "":
			t.Errorf("%s has another user than its image: %q", name, s.User)
		case name != "sallyport" && (s.User == "" || strings.HasPrefix(s.User, "0:") || s.User == "root"):
			t.Errorf("%s has the user %q", name, s.User)
		case name != "employee" && (s.HealthCheck == nil || s.HealthCheck.Disable):
			t.Errorf("%s has no health check", name)
		}
	}
}

// TestComposeImages wants a version for every image, so that one day's
// `docker compose up` is another day's.
func TestComposeImages(t *testing.T) {
	for name, s := range loadCompose(t).Services {
		if name == "sallyport" {
			if s.Image != "sallyport:local" || s.Build == nil {
				t.Errorf("%s is %q, built by %v", name, s.Image, s.Build)
			}
			continue
		}
		ref, err := reference.ParseNormalizedNamed(s.Image)
		if err != nil {
			t.Fatal(err)
		}
		tagged, ok := ref.(reference.Tagged)
		if !ok || strings.Count(tagged.Tag(), ".") != 2 || ref.String() != s.Image {
			t.Errorf("%s is %q: want registry/name:1.2.3", name, s.Image)
		}
	}
	built := loadCompose(t, "SALLYPORT_IMAGE=ghcr.io/x/sallyport:v1", "SALLYPORT_VERSION=v1", "SALLYPORT_COMMIT=0123").Services["sallyport"]
	if built.Image != "ghcr.io/x/sallyport:v1" || *built.Build.Args["VERSION"] != "v1" || *built.Build.Args["COMMIT"] != "0123" {
		t.Errorf("the variables give %q, built with %v", built.Image, built.Build.Args)
	}
	if _, err := os.Stat(filepath.Join(built.Build.Context, built.Build.Dockerfile)); err != nil {
		t.Error(err)
	}
}

// TestComposePorts wants what is published to be what the documentation says: the
// rest can be reached inside only, the admin listener above all.
func TestComposePorts(t *testing.T) {
	watching := []string{"127.0.0.1:9093 -> alertmanager 9093/tcp", "127.0.0.1:3000 -> grafana 3000/tcp", "127.0.0.1:9090 -> prometheus 9090/tcp"}
	for _, c := range []struct {
		env  []string
		want []string
	}{
		{nil, []string{
			"127.0.0.1:1053 -> sallyport 1053/tcp", "127.0.0.1:1053 -> sallyport 1053/udp",
			"127.0.0.1:3128 -> sallyport 3128/tcp", "127.0.0.1:8080 -> sallyport 8080/tcp",
		}},
		{[]string{"SALLYPORT_ADDRESS=10.0.0.2", "SALLYPORT_DNS_PORT=53", "SALLYPORT_PROXY_PORT=8888", "SALLYPORT_PORTAL_PORT=80"}, []string{
			"10.0.0.2:53 -> sallyport 1053/tcp", "10.0.0.2:53 -> sallyport 1053/udp",
			"10.0.0.2:8888 -> sallyport 3128/tcp", "10.0.0.2:80 -> sallyport 8080/tcp",
		}},
	} {
		var got []string
		for name, s := range loadCompose(t, c.env...).Services {
			for _, p := range s.Ports {
				got = append(got, fmt.Sprintf("%s:%s -> %s %d/%s", p.HostIP, p.Published, name, p.Target, p.Protocol))
			}
		}
		want := slices.Concat(c.want, watching)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%v publishes\n%q\nwant\n%q", c.env, got, want)
		}
	}
}

// TestComposeMounts wants every mounted file to be there, and none to be written
// to, and engines to say so where one is missing instead of making a folder.
func TestComposeMounts(t *testing.T) {
	project := loadCompose(t)
	binds := 0
	for name, s := range project.Services {
		for _, v := range s.Volumes {
			switch v.Type {
			case types.VolumeTypeBind:
				binds++
				if _, err := os.Stat(v.Source); err != nil {
					t.Errorf("%s mounts what is not there: %v", name, err)
				}
				if !v.ReadOnly || v.Bind == nil || bool(v.Bind.CreateHostPath) {
					t.Errorf("%s may write to %s, or has it made", name, v.Source)
				}
			case types.VolumeTypeVolume:
				if _, ok := project.Volumes[v.Source]; !ok {
					t.Errorf("%s mounts the volume %q, which nothing names", name, v.Source)
				}
			default:
				t.Errorf("%s mounts a %s", name, v.Type)
			}
		}
	}
	if binds < 8 {
		t.Errorf("there are only %d mounts", binds)
	}
}

// TestComposeGateway fits the service to its image and its configuration.
func TestComposeGateway(t *testing.T) {
	s := loadCompose(t).Services["sallyport"]
	for architecture, i := range readImages(t, filepath.Join(built(t), "image")) {
		if !slices.Equal(s.HealthCheck.Test, i.config.Config.Healthcheck.Test) {
			t.Errorf("the health check is %q, the image's for %s %q", s.HealthCheck.Test, architecture, i.config.Config.Healthcheck.Test)
		}
		for _, p := range s.Ports {
			if _, ok := i.config.Config.ExposedPorts[fmt.Sprintf("%d/%s", p.Target, p.Protocol)]; !ok {
				t.Errorf("the image for %s does not expose %d/%s", architecture, p.Target, p.Protocol)
			}
		}
		state := mountedAt(s, types.VolumeTypeVolume)
		if len(state) != 1 || unpack(t, i)[strings.TrimPrefix(state[0], "/")].header == nil {
			t.Errorf("the volumes are at %q: their owner is root, save where the image has a folder", state)
		}
	}
	var config struct{ State string }
	if err := yaml.Unmarshal([]byte(readFile(t, "../sallyport/sallyport.yaml")), &config); err != nil {
		t.Fatal(err)
	}
	if got := mountedAt(s, types.VolumeTypeVolume); !slices.Equal(got, []string{config.State}) {
		t.Errorf("state is %q, the volume at %q", config.State, got)
	}

	// The configuration is good, strictly, with the policy where it is mounted.
	root := t.TempDir()
	for _, v := range s.Volumes {
		if v.Type == types.VolumeTypeBind {
			copyFiles(t, v.Source, filepath.Join(root, v.Target))
		}
	}
	r := run(t, builtProgram(t), "check", "--strict", "--config", filepath.Join(root, "etc/sallyport/sallyport.yaml"))
	if r.code != 0 {
		t.Errorf("check --strict: exit status %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

func mountedAt(s types.ServiceConfig, kind string) []string {
	var targets []string
	for _, v := range s.Volumes {
		if v.Type == kind {
			targets = append(targets, v.Target)
		}
	}
	return targets
}
