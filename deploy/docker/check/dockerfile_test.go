package check

import (
	"bytes"
	"cmp"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// TestDockerfileMakesTheSame compares the Dockerfile's last stage with the image
// of `make image`: what an engine is told, and where files are put.
func TestDockerfileMakesTheSame(t *testing.T) {
	stages := parseDockerfile(t)
	last := stages[len(stages)-1]
	if last.BaseName != "scratch" {
		t.Errorf("the last stage is from %q", last.BaseName)
	}
	want, copies := configured(t, last)
	wantCopies := []string{
		"/out/base/ -> /", "/out/state/ -> /var/lib/ 65532:65532", "/out/program/ -> /usr/bin/",
	}
	if !slices.Equal(copies, wantCopies) {
		t.Errorf("it copies %q, want %q: compare TestRoot", copies, wantCopies)
	}
	for architecture, i := range readImages(t, filepath.Join(built(t), "image")) {
		got := i.config.Config
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: make image says\n%+v\nhealth %+v\nthe Dockerfile\n%+v\nhealth %+v",
				architecture, got, got.Healthcheck, want, want.Healthcheck)
		}
		for name, value := range got.Labels {
			if i.manifest.Annotations[name] != value {
				t.Errorf("%s: the annotation %s is %q, the label %q", architecture, name, i.manifest.Annotations[name], value)
			}
		}
	}
}

// TestDockerfileBuildsTheSame wants the flags of the Makefile in the Dockerfile,
// since a flag more or less makes another program, and the Go that is in use.
func TestDockerfileBuildsTheSame(t *testing.T) {
	text := readFile(t, "../Dockerfile")
	for _, part := range []string{
		"CGO_ENABLED=0", "GOAMD64=v1 GOARM64=v8.0 GOFLAGS=", "-trimpath -buildvcs=false", "-buildid= -s -w -X main.version=${VERSION} -X main.commit=${COMMIT}", "./cmd/sallyport",
		"deploy/docker/image run . certificates > /out/base/etc/ssl/certs/ca-certificates.crt",
		// Folders that COPY --chown makes by itself get the owner, too.
		"mkdir -p /out/base/etc/ssl/certs /out/base/var/lib /out/state/sallyport /out/program",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the Dockerfile has no %q", part)
		}
	}
	makefile := readFile(t, "../../../Makefile")
	_, target, _ := strings.Cut(makefile, "\nimage:")
	for _, part := range []string{"CGO_ENABLED=0", "GOAMD64=v1 GOARM64=v8.0 GOFLAGS=", "-trimpath -buildvcs=false", "-buildid= $(LDFLAGS)", "./cmd/sallyport"} {
		if recipe, _, _ := strings.Cut(target, "\n\n"); !strings.Contains(recipe, part) {
			t.Errorf("the Makefile's recipe of the image has no %q", part)
		}
	}
	if !strings.Contains(makefile, "LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)\n") {
		t.Error("the Makefile links with other flags than the Dockerfile")
	}
}

func parseDockerfile(t *testing.T) []instructions.Stage {
	t.Helper()
	parsed, err := parser.Parse(bytes.NewReader([]byte(readFile(t, "../Dockerfile"))))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Errorf("the Dockerfile: %s", w.Short)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	return stages
}

// configured is the configuration that a stage makes, and what it copies. An
// instruction that is not known here fails the test: it would make a difference
// that nothing compares.
func configured(t *testing.T, stage instructions.Stage) (config dockerspec.DockerOCIImageConfig, copies []string) {
	t.Helper()
	args := map[string]string{}
	config.Labels, config.ExposedPorts = map[string]string{}, map[string]struct{}{}
	lex := shell.NewLex('\\')
	expand := func(word string) (string, error) {
		text, missing, err := lex.ProcessWord(word, shell.EnvsFromSlice(pairs(args)))
		if len(missing) > 0 {
			t.Errorf("%q names %v, which nothing sets", word, slices.Sorted(maps.Keys(missing)))
		}
		return text, err
	}
	for _, command := range stage.Commands {
		if c, ok := command.(instructions.SupportsSingleWordExpansion); ok {
			if err := c.Expand(expand); err != nil {
				t.Fatal(err)
			}
		}
		switch c := command.(type) {
		case *instructions.ArgCommand:
			given := map[string]string{"VERSION": version, "COMMIT": revision}
			for _, a := range c.Args {
				args[a.Key] = cmp.Or(given[a.Key], a.ValueString())
			}
		case *instructions.LabelCommand:
			for _, l := range c.Labels {
				config.Labels[strings.Trim(l.Key, `"`)] = l.Value
			}
		case *instructions.CopyCommand:
			copies = append(copies, strings.TrimSpace(strings.Join(c.SourcePaths, " ")+" -> "+c.DestPath+" "+c.Chown))
		case *instructions.EnvCommand:
			for _, e := range c.Env {
				config.Env = append(config.Env, e.Key+"="+e.Value)
			}
		case *instructions.WorkdirCommand:
			config.WorkingDir = c.Path
		case *instructions.UserCommand:
			config.User = c.User
		case *instructions.ExposeCommand:
			for _, p := range c.Ports {
				config.ExposedPorts[p] = struct{}{}
			}
		case *instructions.StopSignalCommand:
			config.StopSignal = c.Signal
		case *instructions.HealthCheckCommand:
			config.Healthcheck = c.Health
		case *instructions.EntrypointCommand:
			config.Entrypoint = execForm(t, c.ShellDependantCmdLine)
		case *instructions.CmdCommand:
			config.Cmd = execForm(t, c.ShellDependantCmdLine)
		default:
			t.Errorf("the Dockerfile's last stage has %s, which nothing compares", command.Name())
		}
	}
	return config, copies
}

// execForm is a command line that needs no shell, which the image does not have.
func execForm(t *testing.T, line instructions.ShellDependantCmdLine) []string {
	t.Helper()
	if line.PrependShell {
		t.Errorf("%q wants a shell", line.CmdLine)
	}
	return line.CmdLine
}

func pairs(variables map[string]string) []string {
	var list []string
	for name, value := range variables {
		list = append(list, name+"="+value)
	}
	return list
}
