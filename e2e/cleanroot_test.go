//go:build linux

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dpkgInfo is where dpkg keeps what it knows of each package.
const dpkgInfo = "/var/lib/dpkg/info"

// cleanRoot makes a Debian system that has what every Debian has (the essential
// packages), the packages that are named, what these need, and nothing else: from
// this machine's own files, without fetching anything. What it gives is known to the
// dpkg in it.
func cleanRoot(t *testing.T, packages ...string) string {
	t.Helper()
	needRoot(t)
	need(t, "dpkg-query")
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o755); err != nil { // others than root have to get in
		t.Fatal(err)
	}
	for _, link := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		if target, err := os.Readlink("/" + link); err == nil {
			symlink(t, target, filepath.Join(root, link))
			if err := os.MkdirAll(filepath.Join(root, target), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	chosen := withNeeds(t, append(packages, "passwd"))
	copyFiles(t, root, chosen)
	knowPackages(t, root, chosen)
	// What the packages' scripts and an installer would have done.
	for name, text := range map[string]string{
		"passwd": readFile(t, "/usr/share/base-passwd/passwd.master"), "group": readFile(t, "/usr/share/base-passwd/group.master"),
		"resolv.conf": "nameserver 127.0.0.99\n", // nobody
		"hostname":    "clean\n", "machine-id": "5a1170015a1170015a1170015a117001\n",
	} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	inRoot(t, root, "ldconfig")
	inRoot(t, root, "pwconv")
	inRoot(t, root, "grpconv")
	return root
}

// inRoot runs a command in a root folder, where nothing is started.
func inRoot(t *testing.T, root string, command ...string) result {
	t.Helper()
	r := run(t, "/", "chroot", append([]string{root}, command...)...)
	if r.code != 0 {
		t.Fatalf("%s: status %d\n%s%s", strings.Join(command, " "), r.code, r.stdout, r.stderr)
	}
	return r
}

// debian is a package of this machine.
type debian struct {
	name, file string // file is its name in dpkgInfo
	essential  bool
	needs      [][]string // each any of several
	provides   []string
}

// installed are all packages of this machine, by name.
func installed(t *testing.T) map[string]*debian {
	t.Helper()
	format := "${Package}\t${binary:Package}\t${db:Status-Status}\t${Essential}\t${Pre-Depends}, ${Depends}\t${Provides}\n"
	r := run(t, "/", "dpkg-query", "-W", "-f", format)
	if r.code != 0 {
		t.Fatalf("dpkg-query: %s", r.stderr)
	}
	version := regexp.MustCompile(`\s*(\(.*?\)|\[.*?\])|:any`)
	names := func(list, separator string) []string {
		var found []string
		for name := range strings.SplitSeq(version.ReplaceAllString(list, ""), separator) {
			if name = strings.TrimSpace(name); name != "" {
				found = append(found, name)
			}
		}
		return found
	}
	all := map[string]*debian{}
	for line := range strings.Lines(r.stdout) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 6 || f[2] != "installed" {
			continue
		}
		p := &debian{name: f[0], file: f[1], essential: f[3] == "yes", provides: names(f[5], ",")}
		if exists(filepath.Join(dpkgInfo, p.file+".list")) != nil {
			p.file = p.name
		}
		for _, alternatives := range names(f[4], ",") {
			p.needs = append(p.needs, names(alternatives, "|"))
		}
		all[p.name] = p
	}
	return all
}

// withNeeds are the essential packages, those named, and all that they need.
func withNeeds(t *testing.T, names []string) []*debian {
	t.Helper()
	all := installed(t)
	providers := map[string]*debian{}
	var todo, chosen []*debian
	for _, p := range all {
		for _, virtual := range p.provides {
			providers[virtual] = p
		}
		if p.essential {
			todo = append(todo, p)
		}
	}
	for _, name := range names {
		if all[name] == nil {
			need(t, "the Debian package "+name)
		}
		todo = append(todo, all[name])
	}
	for len(todo) > 0 {
		p := todo[0]
		todo = todo[1:]
		if slices.Contains(chosen, p) {
			continue
		}
		chosen = append(chosen, p)
		for _, alternatives := range p.needs {
			for _, name := range alternatives {
				if found := all[name]; found != nil {
					todo = append(todo, found)
					break
				}
				if found := providers[name]; found != nil {
					todo = append(todo, found)
					break
				}
			}
		}
	}
	slices.SortFunc(chosen, func(a, b *debian) int { return strings.Compare(a.name, b.name) })
	return chosen
}

// copyFiles copies the files of packages.
func copyFiles(t *testing.T, root string, packages []*debian) {
	t.Helper()
	var list bytes.Buffer
	for _, p := range packages {
		for path := range strings.Lines(readFile(t, filepath.Join(dpkgInfo, p.file+".list"))) {
			path = strings.TrimSuffix(path, "\n")
			if path == "/." || strings.HasPrefix(path, "/usr/share/doc/") || exists(path) != nil {
				continue // manuals may have been left out here
			}
			// Links that are the top folders are there already.
			if info, err := os.Lstat(path); err == nil && filepath.Dir(path) == "/" && info.Mode()&os.ModeSymlink != 0 {
				continue
			}
			list.WriteString(strings.TrimPrefix(path, "/") + "\x00")
		}
	}
	pack := exec.Command("tar", "--create", "--directory", "/", "--null", "--no-recursion", "--verbatim-files-from", "--files-from", "-")
	pack.Stdin = &list
	unpack := exec.Command("tar", "--extract", "--directory", root, "--keep-directory-symlink", "--preserve-permissions")
	pipe, err := pack.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	unpack.Stdin = pipe
	var complaints bytes.Buffer
	pack.Stderr, unpack.Stderr = &complaints, &complaints
	if err := unpack.Start(); err != nil {
		t.Fatal(err)
	}
	errPack, errUnpack := pack.Run(), unpack.Wait()
	if errPack != nil || errUnpack != nil {
		t.Fatalf("copy the files: %v, %v\n%s", errPack, errUnpack, lastLines(complaints.String(), 10))
	}
}

// knowPackages tells the dpkg of a root what is installed there.
func knowPackages(t *testing.T, root string, packages []*debian) {
	t.Helper()
	own := filepath.Join(root, "var/lib/dpkg")
	for _, name := range []string{"info", "updates", "triggers", "parts", "alternatives"} {
		if err := os.MkdirAll(filepath.Join(own, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	chosen := map[string]bool{}
	for _, p := range packages {
		chosen[p.name] = true
		files, err := filepath.Glob(filepath.Join(dpkgInfo, p.file+".*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			writeFile(t, filepath.Join(own, "info", filepath.Base(file)), []byte(readFile(t, file)))
			if err := os.Chmod(filepath.Join(own, "info", filepath.Base(file)), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	var status strings.Builder
	for stanza := range strings.SplitSeq(readFile(t, "/var/lib/dpkg/status"), "\n\n") {
		name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(stanza), "Package: "), "\n")
		if chosen[name] && strings.Contains(stanza, "\nStatus: install ok installed") {
			status.WriteString(strings.TrimSpace(stanza) + "\n\n")
		}
	}
	writeFile(t, filepath.Join(own, "status"), []byte(status.String()))
	writeFile(t, filepath.Join(own, "available"), nil)
	// How the files in info are named.
	writeFile(t, filepath.Join(own, "info/format"), []byte(readFile(t, filepath.Join(dpkgInfo, "format"))))
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}
