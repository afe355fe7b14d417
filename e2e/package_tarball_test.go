//go:build linux

package e2e

import (
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestTarballAsTheManualSays runs the commands of docs/install.md, as they stand
// there, on a Debian that has nothing else.
func TestTarballAsTheManualSays(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(packages(t), versionAfter, "*.tar.gz"))
	if err != nil || len(files) != 1 {
		t.Fatalf("tarballs: %q, %v", files, err)
	}
	_, section, _ := strings.Cut(readFile(t, "../docs/install.md"), "\n## From the tarball\n")
	commands := regexp.MustCompile("(?s)^.*?```sh\n(.*?)```").FindStringSubmatch(section)
	if commands == nil {
		t.Fatal("docs/install.md has no commands for the tarball")
	}
	in := &installation{format: format{name: "tarball"}, machine: boot(t, cleanRoot(t, "systemd", "logrotate"))}
	in.bring(t, files[0])
	script := strings.ReplaceAll(commands[1], "linux_amd64", "linux_"+runtime.GOARCH)
	in.do(t, "sh", "-exc", "cd /root\n"+script)
	if got := in.do(t, "systemctl", "is-enabled", "sallyport.service"); got != "enabled" {
		t.Errorf("the service is %s", got)
	}
	if got := in.property(t, "NRestarts"); got != "0" {
		t.Errorf("it was started again %s times", got)
	}
	in.wantBan(t)
	t.Run("Confined", in.confined)
	t.Run("Rotated", func(t *testing.T) {
		in.wantBan(t)
		in.rotated(t)
	})
	t.Run("Reconfigured", in.reconfigured)
}
