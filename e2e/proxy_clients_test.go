package e2e

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestProgramsBehindProxy has programs of developers and administrators fetch
// from nginx through the gateway, set up as docs/clients.md says, and then try
// a name that is refused.
func TestProgramsBehindProxy(t *testing.T) {
	for _, server := range []string{"unbound", "nginx"} {
		need(t, server)
	}
	sallyport(t)
	upstream, site := startUnbound(t), startNginx(t)
	tn := town{gateway: startGateway(t, setting{Upstream: upstream}, readFile(t, "testdata/policy.yaml")), upstream: upstream, origin: site}
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"Curl", tn.curlForms}, {"Git", tn.gitPlain}, {"Apt", tn.apt}, {"Go", tn.goModules}, {"Java", tn.java}, {"Npm", tn.npm},
	} {
		t.Run(c.name, c.test)
	}
}

// publish puts a file on the origin.
func (o *origin) publish(t *testing.T, path string, data []byte) {
	t.Helper()
	path = filepath.Join(o.dir, "site", path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, data)
}

// with runs a program in an environment that says more than usual.
func with(t *testing.T, dir string, env []string, program string, args ...string) result {
	t.Helper()
	return run(t, dir, need(t, "env"), append(append(env, program), args...)...)
}

// wantThrough looks for a decision about a host since the last so many.
func (tn town) wantThrough(t *testing.T, since int, host, action string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the decision log has %s of %s", action, host), func() error {
		for _, e := range tn.decisions(t)[since:] {
			if e.Door == "proxy" && e.Host == host && e.Action == action {
				return nil
			}
		}
		return fmt.Errorf("not among the last of %d entries", len(tn.decisions(t)))
	})
}

// curlForms asks for the same in every way in which curl can use an HTTP proxy.
func (tn town) curlForms(t *testing.T) {
	for name, args := range map[string][]string{
		"CONNECT for plain HTTP": {"--proxytunnel"},
		"HTTP/1.0 to the proxy":  {"--proxy1.0", tn.proxy},
		"HTTP/1.0":               {"--http1.0"},
		"range":                  {"--range", "5-20"},
		"compressed":             {"--compressed"},
	} {
		url := tn.origin.url("http", "www.rockets.example", "/long.txt")
		direct := tn.direct(t, url, strip(args, "--proxytunnel", "--proxy1.0", tn.proxy)...)
		through := tn.through(t, url, args...)
		compareTransfers(t, name, &direct, &through)
		if f := tn.through(t, strings.Replace(url, "www.rockets.example", "zoom.us", 1), args...); f.status != 403 && f.connect != 403 {
			t.Errorf("%s, refused: status %d, CONNECT %d", name, f.status, f.connect)
		}
	}
}

func strip(args []string, without ...string) []string {
	var left []string
	for _, arg := range args {
		if !strings.Contains(" "+strings.Join(without, " ")+" ", " "+arg+" ") {
			left = append(left, arg)
		}
	}
	return left
}

// gitPlain clones over plain HTTP, with the proxy named in the environment.
func (tn town) gitPlain(t *testing.T) {
	git, home := need(t, "git"), t.TempDir()
	env := []string{"http_proxy=http://" + tn.proxy}
	must := func(dir string, args ...string) string {
		t.Helper()
		r := with(t, dir, env, git, append([]string{"-c", "user.name=Alex", "-c", "user.email=alex@corp.example"}, args...)...)
		if r.code != 0 {
			t.Fatalf("git %v: exit status %d\n%s", args, r.code, r.stderr)
		}
		return strings.TrimSpace(r.stdout)
	}
	work, bare := filepath.Join(home, "work"), filepath.Join(tn.origin.dir, "site", "plain.git")
	must(home, "init", "--quiet", work)
	writeFile(t, filepath.Join(work, "plan.txt"), []byte(strings.Repeat("step\n", 9000)))
	must(work, "add", "plan.txt")
	must(work, "commit", "--quiet", "-m", "plan")
	must(home, "clone", "--quiet", "--bare", work, bare)
	must(bare, "update-server-info")
	since := len(tn.decisions(t))
	must(home, "clone", "--quiet", tn.origin.url("http", "git.rockets.example", "/plain.git"), "through")
	if got, want := must(filepath.Join(home, "through"), "rev-parse", "HEAD"), must(work, "rev-parse", "HEAD"); got != want {
		t.Errorf("the clone is at %s, want %s", got, want)
	}
	tn.wantThrough(t, since, "git.rockets.example", "allow")
	if r := with(t, home, env, git, "clone", "--quiet", tn.origin.url("http", "zoom.us", "/plain.git"), "no"); r.code == 0 || !strings.Contains(r.stderr, "403") {
		t.Errorf("git clone from zoom.us: exit status %d, want a failure that shows the 403:\n%s", r.code, r.stderr)
	}
}

// apt reads a repository of one package.
func (tn town) apt(t *testing.T) {
	apt := need(t, "apt-get")
	packages := "Package: launch-tool\nVersion: 1.0\nArchitecture: all\nMaintainer: Alex <alex@corp.example>\nFilename: ./launch-tool_1.0_all.deb\nSize: 1\n" +
		fmt.Sprintf("SHA256: %x\n", sha256.Sum256([]byte("x"))) + "Description: counts down\n\n"
	tn.origin.publish(t, "apt/Packages", []byte(packages))
	tn.origin.publish(t, "apt/Release", fmt.Appendf(nil, "Suite: stable\nDate: Sat, 28 Mar 2020 00:00:00 UTC\nSHA256:\n %x %d Packages\n",
		sha256.Sum256([]byte(packages)), len(packages)))
	update := func(scheme, host string) (result, string) {
		t.Helper()
		dir := t.TempDir()
		for _, folder := range []string{"state/lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/trusted.gpg.d", "etc/apt.conf.d"} {
			if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		writeFile(t, filepath.Join(dir, "status"), nil)
		writeFile(t, filepath.Join(dir, "sources.list"), []byte("deb [trusted=yes] "+tn.origin.url(scheme, host, "/apt")+" ./\n"))
		writeFile(t, filepath.Join(dir, "apt.conf"), fmt.Appendf(nil, `Dir::State "%[1]s/state"; Dir::State::status "%[1]s/status"; Dir::Cache "%[1]s/cache";
Dir::Etc "%[1]s/etc"; Dir::Etc::sourcelist "%[1]s/sources.list"; Dir::Etc::sourceparts "-"; Dir::Log "%[1]s";
APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Retries "0"; APT::Update::Error-Mode "any";
Acquire::http::Proxy "http://%[2]s"; Acquire::https::Proxy "http://%[2]s"; Acquire::https::CaInfo "%[3]s";
`, dir, tn.proxy, tn.origin.authority))
		r := with(t, dir, []string{"APT_CONFIG=" + filepath.Join(dir, "apt.conf")}, apt, "update")
		lists, err := fs.Glob(os.DirFS(filepath.Join(dir, "state", "lists")), "*Packages")
		if err != nil || len(lists) == 0 {
			return r, ""
		}
		return r, readFile(t, filepath.Join(dir, "state", "lists", lists[0]))
	}
	for _, scheme := range []string{"http", "https"} {
		since := len(tn.decisions(t))
		if r, list := update(scheme, "www.rockets.example"); r.code != 0 || list != packages {
			t.Errorf("apt-get update over %s: exit status %d, list %q\n%s%s", scheme, r.code, list, r.stdout, r.stderr)
		}
		tn.wantThrough(t, since, "www.rockets.example", "allow")
		r, list := update(scheme, "zoom.us")
		if r.code == 0 || list != "" || !strings.Contains(r.stdout+r.stderr, "403") {
			t.Errorf("apt-get update from zoom.us over %s: exit status %d, want a failure that shows the 403\n%s%s", scheme, r.code, r.stdout, r.stderr)
		}
	}
}

// goModules downloads a module. Go asks no proxy for loopback addresses, and so
// goes by name.
func (tn town) goModules(t *testing.T) {
	const module, version, source = "rockets.example/launch", "v1.0.0", "module rockets.example/launch\n\ngo 1.21\n"
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for name, text := range map[string]string{"go.mod": source, "launch.go": "package launch\n"} {
		f, err := w.Create(module + "@" + version + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"list": []byte(version + "\n"), version + ".info": []byte(`{"Version":"v1.0.0","Time":"2020-03-28T00:00:00Z"}`),
		version + ".mod": []byte(source), version + ".zip": archive.Bytes(),
	} {
		tn.origin.publish(t, filepath.Join("modules", module, "@v", name), data)
	}
	download := func(scheme, host string) result {
		t.Helper()
		dir := t.TempDir()
		return with(t, dir, []string{
			"GOPROXY=" + tn.origin.url(scheme, host, "/modules"), "HTTP_PROXY=http://" + tn.proxy, "HTTPS_PROXY=http://" + tn.proxy,
			"SSL_CERT_FILE=" + tn.origin.authority, "GOSUMDB=off", "GOTOOLCHAIN=local", "GOENV=off", "GOWORK=off", "GOFLAGS=-modcacherw",
			"GOMODCACHE=" + filepath.Join(dir, "modules"), "GOCACHE=" + filepath.Join(dir, "cache"),
		}, need(t, "go"), "mod", "download", "-json", module+"@latest")
	}
	for _, scheme := range []string{"http", "https"} {
		since := len(tn.decisions(t))
		if r := download(scheme, "www.rockets.example"); r.code != 0 || !strings.Contains(r.stdout, `"Version": "v1.0.0"`) || !strings.Contains(r.stdout, `"Sum": "h1:`) {
			t.Errorf("go mod download over %s: exit status %d\n%s%s", scheme, r.code, r.stdout, r.stderr)
		}
		tn.wantThrough(t, since, "www.rockets.example", "allow")
		r := download(scheme, "zoom.us")
		if said := r.stdout + r.stderr; r.code == 0 || !strings.Contains(said, "403") && !strings.Contains(said, "Forbidden") {
			t.Errorf("go mod download from zoom.us over %s: exit status %d, want a failure that shows the 403\n%s", scheme, r.code, said)
		}
	}
}

// local gives a program that tests use where it is, and that CI does without.
func local(t *testing.T, program, debian string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: it is in Debian's %s. It is large, and CI does without", program, debian)
	}
	return path
}

const javaClient = `import java.net.*;
import java.net.http.*;
public class Client {
  public static void main(String[] a) throws Exception {
    HttpClient client = HttpClient.newBuilder().proxy(ProxySelector.of(new InetSocketAddress(a[0], Integer.parseInt(a[1])))).build();
    for (int i = 2; i < a.length; i++) {
      try {
        HttpResponse<String> r = client.send(HttpRequest.newBuilder(URI.create(a[i])).build(), HttpResponse.BodyHandlers.ofString());
        System.out.println(r.statusCode() + " " + r.version() + " " + r.body().length() + " " + r.headers().firstValue("X-Sallyport-Rule").orElse("-"));
      } catch (java.io.IOException e) {
        System.out.println("failed: " + e.getMessage());
      }
    }
  }
}
`

// java is the HttpClient of the Java library. On plain HTTP it offers to go on
// in HTTP/2, which a proxy must not pass on.
func (tn town) java(t *testing.T) {
	local(t, "javac", "default-jdk-headless") // what makes java run a source file
	java, keytool := local(t, "java", "default-jdk-headless"), local(t, "keytool", "default-jdk-headless")
	dir := t.TempDir()
	trust := filepath.Join(dir, "trust.p12")
	if r := run(t, dir, keytool, "-importcert", "-noprompt", "-alias", "site", "-file", tn.origin.authority, "-keystore", trust, "-storepass", "countdown"); r.code != 0 {
		t.Fatalf("keytool: %s%s", r.stdout, r.stderr)
	}
	writeFile(t, filepath.Join(dir, "Client.java"), []byte(javaClient))
	host, port := split(t, tn.proxy)
	size := len(readFile(t, "testdata/site/long.txt"))
	r := run(t, dir, java, "-Djavax.net.ssl.trustStore="+trust, "-Djavax.net.ssl.trustStorePassword=countdown", "Client.java", host, fmt.Sprint(port),
		tn.origin.url("http", "www.rockets.example", "/long.txt"), tn.origin.url("https", "www.rockets.example", "/long.txt"),
		tn.origin.url("http", "zoom.us", "/"), tn.origin.url("https", "zoom.us", "/"))
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if r.code != 0 || len(lines) != 4 {
		t.Fatalf("java: exit status %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	for i, want := range []string{fmt.Sprintf("200 HTTP_1_1 %d -", size), fmt.Sprintf("200 HTTP_2 %d -", size), "403 HTTP_1_1 ", "403 "} {
		if !strings.HasPrefix(lines[i], want) && !(i == 3 && strings.HasPrefix(lines[i], "failed: ") && strings.Contains(lines[i], "403")) {
			t.Errorf("request %d: %q, want %q", i, lines[i], want)
		}
	}
}

// npm reads a registry of one package.
func (tn town) npm(t *testing.T) {
	npm := local(t, "npm", "npm")
	tarball := npmTarball(t)
	tn.origin.publish(t, "npm/launch/-/launch-1.0.0.tgz", tarball)
	sum := sha512.Sum512(tarball)
	for _, scheme := range []string{"http", "https"} {
		registry := tn.origin.url(scheme, "www.rockets.example", "/npm-"+scheme+"/")
		tn.origin.publish(t, "npm-"+scheme+"/launch", fmt.Appendf(nil,
			`{"name":"launch","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"launch","version":"1.0.0","dist":{"tarball":%q,"integrity":"sha512-%s"}}}}`,
			tn.origin.url(scheme, "www.rockets.example", "/npm/launch/-/launch-1.0.0.tgz"), base64.StdEncoding.EncodeToString(sum[:])))
		ask := func(registry string, args ...string) (result, string) {
			t.Helper()
			dir := t.TempDir()
			return run(t, dir, npm, append(args, "--registry="+registry, "--proxy=http://"+tn.proxy, "--https-proxy=http://"+tn.proxy, "--cafile="+tn.origin.authority,
				"--cache="+filepath.Join(dir, "cache"), "--no-update-notifier", "--fetch-retries=0", "--noproxy=")...), dir
		}
		since := len(tn.decisions(t))
		r, dir := ask(registry, "pack", "launch")
		if packed, err := os.ReadFile(filepath.Join(dir, "launch-1.0.0.tgz")); r.code != 0 || err != nil || !bytes.Equal(packed, tarball) {
			t.Errorf("npm pack over %s: exit status %d, %v\n%s%s", scheme, r.code, err, r.stdout, r.stderr)
		}
		tn.wantThrough(t, since, "www.rockets.example", "allow")
		if r, _ := ask(tn.origin.url(scheme, "zoom.us", "/npm/"), "view", "launch", "version"); r.code == 0 || !strings.Contains(r.stderr, "403") {
			t.Errorf("npm view from zoom.us over %s: exit status %d, want a failure that shows the 403\n%s%s", scheme, r.code, r.stdout, r.stderr)
		}
	}
}

func npmTarball(t *testing.T) []byte {
	t.Helper()
	const manifest = `{"name":"launch","version":"1.0.0"}`
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "package/package.json", Mode: 0o644, Size: int64(len(manifest))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(manifest)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}
