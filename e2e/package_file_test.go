//go:build linux

package e2e

import (
	"archive/tar"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestPackageVersions has both formats' own tools put our versions in order.
func TestPackageVersions(t *testing.T) {
	dpkg, rpm := need(t, "dpkg"), need(t, "rpm")
	script := absolute(t, "../packaging/version")
	var before string
	for _, version := range []string{
		"v1.1.9", "v1.2.0-rc.1", "v1.2.0-rc.1-3-g0123456789ab", "v1.2.0-rc.2", "v1.2.0", "v1.2.0-4-g0123456789ab",
		"v1.2.0-4-g0123456789ab-dirty", "v1.2.0-10-gfedcba987654", "v1.2.1", "v1.10.0",
	} {
		r := run(t, "..", script, version)
		if r.code != 0 || !regexp.MustCompile(`^[0-9][0-9A-Za-z.+~]*\n$`).MatchString(r.stdout) {
			t.Fatalf("%s: status %d, %q%s", version, r.code, r.stdout, r.stderr)
		}
		after := strings.TrimSpace(r.stdout)
		if before != "" {
			if run(t, "/", dpkg, "--compare-versions", before, "lt", after).code != 0 {
				t.Errorf("dpkg does not put %s before %s", before, after)
			}
			if r := run(t, "/", rpm, "--eval", fmt.Sprintf("%%{lua:print(rpm.vercmp(%q, %q))}", before, after)); strings.TrimSpace(r.stdout) != "-1" {
				t.Errorf("rpm does not put %s before %s: %s%s", before, after, r.stdout, r.stderr)
			}
		}
		before = after
	}
	if r := run(t, "..", script, "main"); r.code != 1 || !strings.Contains(r.stderr, "v1.2.3") {
		t.Errorf("a version that cannot be compared: status %d, %s", r.code, r.stderr)
	}
	if r := run(t, "..", script, "0123456789ab"); r.code != 0 || !strings.HasSuffix(r.stdout, ".g0123456789ab\n") || !strings.HasPrefix(r.stdout, "0.0.0+") {
		t.Errorf("before the first release: status %d, %q", r.code, r.stdout)
	}
}

// TestPackageScripts has shellcheck read whatever is run where we cannot see it.
func TestPackageScripts(t *testing.T) {
	scripts, err := filepath.Glob("../packaging/scripts/*")
	if err != nil || len(scripts) != 7 {
		t.Fatalf("scripts: %q, %v", scripts, err)
	}
	for _, name := range []string{"build", "layout", "reproducible", "links", "tarball", "upgrade", "version"} {
		scripts = append(scripts, filepath.Join("..", "packaging", name))
	}
	if r := run(t, ".", need(t, "shellcheck"), append([]string{"--shell=sh"}, scripts...)...); r.code != 0 {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
}

// TestDebFile has Debian's own judge look at the package.
func TestDebFile(t *testing.T) {
	deb := packageOf(t, versionAfter, "deb")
	r := run(t, "/", need(t, "lintian"), "--allow-root", "--tag-display-limit", "0", "--fail-on", "error,warning", deb)
	if r.code != 0 || strings.TrimSpace(r.stdout) != "" {
		t.Errorf("lintian: status %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	r = run(t, "/", need(t, "dpkg-deb"), "--info", deb, "conffiles")
	if want := "/etc/logrotate.d/sallyport\n/etc/sallyport/policy.yaml\n/etc/sallyport/sallyport.yaml\n"; r.stdout != want {
		t.Errorf("configuration files are %q", r.stdout)
	}
}

// TestRpmFile looks into the rpm, which has what the deb has.
func TestRpmFile(t *testing.T) {
	rpm := need(t, "rpm")
	file := packageOf(t, versionAfter, "rpm")
	query := func(args ...string) string {
		t.Helper()
		r := run(t, "/", rpm, append([]string{"--query", "--package", file}, args...)...)
		if r.code != 0 {
			t.Fatalf("rpm %q: %s", args, r.stderr)
		}
		return r.stdout
	}
	// 17 is "a configuration file" and "not to be replaced".
	flags := query("--queryformat", "[%{FILENAMES} %{FILEFLAGS} %{FILEUSERNAME} %{FILEGROUPNAME}\n]")
	for _, want := range []string{
		"/etc/sallyport/policy.yaml 17 root root\n", "/etc/sallyport/sallyport.yaml 17 root root\n", "/etc/logrotate.d/sallyport 17 root root\n",
		"/etc/sallyport 0 root sallyport\n", "/usr/lib/systemd/system/sallyport.service 0 root root\n",
	} {
		if !strings.Contains(flags, want) {
			t.Errorf("the rpm lacks %q", want)
		}
	}
	for script, want := range map[string]string{"PREIN": "useradd", "POSTIN": "enable", "PREUN": "stop", "POSTUN": "daemon-reload"} {
		if got := query("--queryformat", "%{"+script+"}"); !strings.Contains(got, want) {
			t.Errorf("%s is %q", script, got)
		}
	}
	if got := query("--queryformat", "%{NAME} %{VERSION} %{LICENSE} %{BUILDHOST}"); got != "sallyport "+strings.TrimPrefix(versionAfter, "v")+" Apache-2.0 localhost" {
		t.Errorf("the rpm is %q", got)
	}
	has := map[string]bool{}
	for path := range strings.Lines(query("--list")) {
		has[strings.TrimSpace(path)] = true
	}
	r := run(t, "/", need(t, "dpkg-deb"), "--fsys-tarfile", packageOf(t, versionAfter, "deb"))
	if r.code != 0 {
		t.Fatal(r.stderr)
	}
	moved := strings.NewReplacer("/zsh/vendor-completions/", "/zsh/site-functions/")
	checked := 0
	for _, path := range tarNames(t, r.stdout) {
		path = strings.TrimPrefix(path, ".")
		if strings.HasPrefix(path, "/lib/") {
			path = "/usr" + path
		}
		if strings.HasSuffix(path, "/") || strings.Contains(path, "/lintian/") {
			continue
		}
		checked++
		if !has[moved.Replace(path)] {
			t.Errorf("the deb has %s, and the rpm has not", path)
		}
	}
	if checked < 40 {
		t.Errorf("the deb has %d files", checked)
	}
}

// TestRelease looks at what make release leaves: a checksum for each file, a tarball
// whose program runs and whose configuration it takes, and a bill of materials that
// lists what the program was linked from.
func TestRelease(t *testing.T) {
	dist := filepath.Join(packages(t), versionAfter)
	name := fmt.Sprintf("sallyport_%s_linux_%s", strings.TrimPrefix(versionAfter, "v"), runtime.GOARCH)
	if r := run(t, dist, "sha256sum", "--check", "--strict", "SHA256SUMS"); r.code != 0 || strings.Count(r.stdout, ": OK") != 4 {
		t.Errorf("sha256sum: status %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	for _, other := range othersFiles {
		if got := readFile(t, filepath.Join(dist, other)); got != "mine\n" {
			t.Errorf("%s is now %q", other, got)
		}
	}
	if err := exists(filepath.Join(dist, staleFile)); err == nil {
		t.Errorf("%s of another build is still there", staleFile)
	}
	if left, err := filepath.Glob(filepath.Join(dist, "sallyport-work.*")); err != nil || len(left) > 0 {
		t.Errorf("the build leaves %q behind: %v", left, err)
	}
	dir := t.TempDir()
	if r := run(t, dir, "tar", "--extract", "--gzip", "--file", filepath.Join(dist, name+".tar.gz")); r.code != 0 {
		t.Fatal(r.stderr)
	}
	top := filepath.Join(dir, name)
	binary := filepath.Join(top, "bin", "sallyport")
	if r := run(t, top, binary, "version"); !strings.HasPrefix(r.stdout, "sallyport "+versionAfter+" (revision ") {
		t.Errorf("version: %s%s", r.stdout, r.stderr)
	}
	if r := run(t, top, binary, "check", "--config", "configs/sallyport.yaml", "--strict"); r.code != 0 {
		t.Errorf("check: %s%s", r.stdout, r.stderr)
	}
	for _, path := range []string{"LICENSES", "README.md", "upgrade", "man/sallyport.8", "etc/sallyport.yaml", "docs/install.md", "deploy/systemd/sallyport.service", "deploy/network", "deploy/clients/windows-dns.ps1", "dashboards/alerts.yaml"} {
		if err := exists(filepath.Join(top, path)); err != nil {
			t.Error(err)
		}
	}

	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(dist, name+".cdx.json"))), &bill); err != nil {
		t.Fatal(err)
	}
	var listed, linked []string
	for _, c := range bill.Components {
		listed = append(listed, c.Name+" "+c.Version)
	}
	for _, m := range info.Deps {
		linked = append(linked, m.Path+" "+m.Version)
	}
	linked = append(linked, "stdlib "+strings.TrimPrefix(info.GoVersion, "go"))
	slices.Sort(listed)
	slices.Sort(linked)
	if !slices.Equal(listed, linked) {
		t.Errorf("the bill lists\n%s\nand the program was linked from\n%s", strings.Join(listed, "\n"), strings.Join(linked, "\n"))
	}
	licences := readFile(t, filepath.Join(top, "LICENSES"))
	for _, m := range info.Deps {
		if !strings.Contains(licences, "\n"+m.Path+" "+m.Version+" (") {
			t.Errorf("the licence of %s is not there", m.Path)
		}
	}
	for _, s := range info.Settings {
		if s.Key == "CGO_ENABLED" && s.Value != "0" || s.Key == "-trimpath" && s.Value != "true" {
			t.Errorf("built with %s=%s", s.Key, s.Value)
		}
	}
}

// TestShippedLinks follows every relative link of the manual as it is shipped, in the
// deb (where the rpm has it too) and in the tarball.
func TestShippedLinks(t *testing.T) {
	deb := t.TempDir()
	if r := run(t, "/", need(t, "dpkg-deb"), "--extract", packageOf(t, versionAfter, "deb"), deb); r.code != 0 {
		t.Fatal(r.stderr)
	}
	packed := t.TempDir()
	name := fmt.Sprintf("sallyport_%s_linux_%s", strings.TrimPrefix(versionAfter, "v"), runtime.GOARCH)
	if r := run(t, packed, "tar", "--extract", "--gzip", "--file", filepath.Join(packages(t), versionAfter, name+".tar.gz")); r.code != 0 {
		t.Fatal(r.stderr)
	}
	for what, top := range map[string]string{
		"deb": filepath.Join(deb, "usr/share/doc/sallyport"), "tarball": filepath.Join(packed, name),
	} {
		t.Run(what, func(t *testing.T) {
			links, elsewhere := 0, 0
			err := filepath.WalkDir(top, func(path string, _ fs.DirEntry, err error) error {
				if err != nil || filepath.Ext(path) != ".md" {
					return err
				}
				for _, m := range regexp.MustCompile(`\]\(([^)#\s]+)`).FindAllStringSubmatch(readFile(t, path), -1) {
					switch link := m[1]; {
					case strings.HasPrefix(link, sourceSite):
						elsewhere++
						// Beside what we are tested from it must be there.
						if err := exists(filepath.Join("..", strings.TrimPrefix(link, sourceSite))); err != nil {
							t.Errorf("%s links to %s: %v", path, link, err)
						}
					case strings.Contains(link, ":"):
						// another site, or mail
					default:
						links++
						if err := exists(filepath.Join(filepath.Dir(path), link)); err != nil {
							t.Errorf("%s links to %s, which is not shipped", path, link)
						}
					}
				}
				return nil
			})
			if err != nil || links < 100 || elsewhere < 5 {
				t.Errorf("%d links, %d of them to the source: %v", links, elsewhere, err)
			}
		})
	}
}

// sourceSite is where what is not shipped can be read.
const sourceSite = "https://github.com/sallyport/sallyport/blob/main/"

// TestManualNamesEveryCommand holds the manual page against the program.
func TestManualNamesEveryCommand(t *testing.T) {
	binary := sallyport(t)
	page := readFile(t, "../packaging/sallyport.8")
	_, commands, _ := strings.Cut(run(t, t.TempDir(), binary, "--help").stdout, "Available Commands:\n")
	commands, _, _ = strings.Cut(commands, "\n\n")
	var has, wants []string
	for line := range strings.Lines(commands) {
		if name := strings.Fields(line)[0]; name != "help" {
			wants = append(wants, name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\.It Cm (\S+)$`).FindAllStringSubmatch(page, -1) {
		has = append(has, m[1])
	}
	slices.Sort(has)
	slices.Sort(wants)
	if !slices.Equal(has, wants) || len(has) < 8 {
		t.Errorf("the page has %q, the program %q", has, wants)
	}
	if r := run(t, ".", need(t, "groff"), "-mandoc", "-Tutf8", "-ww", "-z", "../packaging/sallyport.8"); r.code != 0 || r.stderr != "" {
		t.Errorf("groff complains:\n%s", r.stderr)
	}
}

// tarNames are the names in a tarball.
func tarNames(t *testing.T, tarball string) []string {
	t.Helper()
	var names []string
	for reader := tar.NewReader(strings.NewReader(tarball)); ; {
		header, err := reader.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
	}
}
