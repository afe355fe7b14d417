//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// format is a kind of package, and how one works with it.
type format struct {
	name                   string
	debian                 []string // what has to be there besides systemd
	install, remove, purge []string
}

func formats() []format {
	return []format{
		{"deb", nil, []string{"dpkg", "--install"}, []string{"dpkg", "--remove", "sallyport"}, []string{"dpkg", "--purge", "sallyport"}},
		// Debian's rpm knows nothing of what is installed otherwise.
		{"rpm", []string{"rpm"}, []string{"rpm", "--upgrade", "--nodeps"}, []string{"rpm", "--erase", "sallyport"}, nil},
	}
}

// TestPackages is the life of a package on a Debian that has nothing else, under a
// systemd that runs: installed, started by its unit with all its limits, used by real
// clients, scraped by Prometheus, upgraded under an open tunnel, upgraded to what
// cannot run, removed, purged.
func TestPackages(t *testing.T) {
	for _, f := range formats() {
		t.Run(f.name, func(t *testing.T) {
			before, after := packageOf(t, versionBefore, f.name), packageOf(t, versionAfter, f.name)
			in := &installation{format: f, machine: boot(t, cleanRoot(t, append([]string{"systemd", "logrotate"}, f.debian...)...))}
			in.before, in.after = in.bring(t, before), in.bring(t, after)
			for _, step := range []struct {
				name string
				do   func(*testing.T)
			}{
				{"Installed", in.installed},
				{"Started", in.started},
				{"Confined", in.confined},
				{"Scraped", in.scraped},
				{"Rotated", in.rotated},
				{"Reconfigured", in.reconfigured},
				{"Upgraded", in.upgraded},
				{"NotUpgraded", in.notUpgraded},
				{"Removed", in.removed},
				{"Purged", in.purged},
			} {
				if !t.Run(step.name, step.do) {
					t.Fatalf("what follows needs %s", step.name)
				}
			}
		})
	}
}

// installation is a package on a machine.
type installation struct {
	*machine
	format
	before, after string // package files, in the machine
}

// bring copies a file into the machine.
func (in *installation) bring(t *testing.T, file string) string {
	t.Helper()
	target := filepath.Join("/root", filepath.Base(file))
	writeFile(t, in.path(target), []byte(readFile(t, file)))
	return target
}

func (in *installation) property(t *testing.T, name string) string {
	t.Helper()
	return in.do(t, "systemctl", "show", "--property="+name, "--value", "sallyport.service")
}

// installed: enabled and not started, with a user of its own, and with a
// configuration that it takes.
func (in *installation) installed(t *testing.T) {
	in.do(t, append(in.install, in.before)...)
	if got := in.do(t, "systemctl", "is-enabled", "sallyport.service"); got != "enabled" {
		t.Errorf("the service is %s", got)
	}
	if got := in.property(t, "ActiveState"); got != "inactive" {
		t.Errorf("the service is %s", got)
	}
	if r := in.try(t, "systemctl", "is-enabled", "sallyport.socket"); strings.TrimSpace(r.stdout) != "disabled" {
		t.Errorf("the socket is %s", r.stdout)
	}
	for path, want := range map[string]string{
		"/etc/sallyport": "750 root sallyport", "/etc/sallyport/policy.yaml": "644 root root", "/usr/bin/sallyport": "755 root root",
	} {
		if got := in.do(t, "stat", "--format=%a %U %G", path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	// As the user that will read them.
	got := in.do(t, "setpriv", "--reuid", "sallyport", "--regid", "sallyport", "--init-groups", "sallyport", "check", "--strict", "--config", "/etc/sallyport/sallyport.yaml")
	if !strings.Contains(got, "good: 0 errors, 0 warnings") {
		t.Errorf("check says %q", got)
	}
	in.do(t, "sallyport", "test", "--policy", "/etc/sallyport/policy.yaml")
	if r := in.try(t, "setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "cat", "/etc/sallyport/policy.yaml"); r.code == 0 {
		t.Error("everybody can read the policy")
	}
	if got := in.do(t, "cat", "/proc/sys/net/core/somaxconn"); got != "16384" {
		t.Errorf("net.core.somaxconn is %s: the package's settings were not applied", got)
	}
}

// started: real clients see the ban.
func (in *installation) started(t *testing.T) {
	in.do(t, "systemctl", "start", "sallyport.service")
	in.wantBan(t)
	if got := in.do(t, "stat", "--format=%a %U %G", "/var/log/sallyport", "/var/lib/sallyport", "/var/log/sallyport/decisions.jsonl"); got !=
		"750 sallyport sallyport\n700 sallyport sallyport\n640 sallyport sallyport" {
		t.Errorf("logs and state are %s", got)
	}
}

// wantBan asks both doors.
func (in *installation) wantBan(t *testing.T) {
	t.Helper()
	r := in.client(t, need(t, "dig"), "@127.0.0.1", "us04web.zoom.us", "+short", "+tries=1")
	if strings.TrimSpace(r.stdout) != "0.0.0.0" {
		t.Errorf("dig: %s%s", r.stdout, r.stderr)
	}
	r = in.client(t, need(t, "curl"), "--silent", "--include", "--proxy", "127.0.0.1:3128", "http://zoom.us/")
	if !strings.HasPrefix(r.stdout, "HTTP/1.1 403") || !strings.Contains(r.stdout, "X-Sallyport-Rule: zoom-memo") {
		t.Errorf("curl: %s%s", r.stdout, r.stderr)
	}
}

// confined: what the unit promises is so, by the kernel's own account.
func (in *installation) confined(t *testing.T) {
	pid := in.property(t, "MainPID")
	status := in.do(t, "cat", "/proc/"+pid+"/status")
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000400", "CapBnd:\t0000000000000400"} {
		if !strings.Contains(status, want+"\n") {
			t.Errorf("the process lacks %q:\n%s", want, status)
		}
	}
	if got := in.do(t, "stat", "--format=%U", "/proc/"+pid); got != "sallyport" {
		t.Errorf("it runs as %s", got)
	}
	// Where root may not raise it, systemd comes as near as it can.
	if got, most := in.descriptors(t, pid), in.descriptors(t, "1"); got != min(262144, most) {
		t.Errorf("it may have %d descriptors open, of %d", got, most)
	}
	listening := in.client(t, need(t, "ss"), "--listening", "--tcp", "--udp", "--numeric", "--no-header").stdout
	if strings.Count(listening, " 127.0.0.1:") < 5 || strings.Contains(listening, " 0.0.0.0:53") || strings.Contains(listening, " *:") {
		t.Errorf("as it is shipped it listens on\n%s", listening)
	}
	r := in.try(t, "systemd-analyze", "security", "--threshold=20", "--no-pager", "sallyport.service")
	if r.code != 0 {
		t.Errorf("systemd-analyze security: %s%s", lastLines(r.stdout, 2), r.stderr)
	}
	t.Log(lastLines(r.stdout, 1))
}

// descriptors is how many a process of the machine may have open.
func (in *installation) descriptors(t *testing.T, pid string) int {
	t.Helper()
	fields := strings.Fields(line1(in.do(t, "cat", "/proc/"+pid+"/limits"), "Max open files"))
	if len(fields) < 5 {
		t.Fatalf("limits of process %s: %q", pid, fields)
	}
	hard, err := strconv.Atoi(fields[4])
	if err != nil {
		t.Fatal(err)
	}
	return hard
}

// line1 is the line of a text that begins so.
func line1(text, begin string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, begin) {
			return line
		}
	}
	return ""
}

// scraped: a real Prometheus finds the refusals.
func (in *installation) scraped(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "prometheus.yml"), []byte(`global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs: [{job_name: sallyport, static_configs: [{targets: ["127.0.0.1:9180"]}]}]
`))
	spawn(t, dir, need(t, "nsenter"), "--target", fmt.Sprint(in.init), "--net", need(t, "prometheus"),
		"--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:9090", "--log.level=error")
	query := "http://127.0.0.1:9090/api/v1/query?query=" + url.QueryEscape(`sum(sallyport_decisions_total{job="sallyport",action="block",rule="zoom-memo"})`)
	eventually(t, "Prometheus has the refusals", func() error {
		r := in.client(t, need(t, "curl"), "--silent", query)
		var answer struct {
			Data struct {
				Result []struct{ Value [2]any }
			}
		}
		if err := json.Unmarshal([]byte(r.stdout), &answer); err != nil {
			return fmt.Errorf("%w: %s%s", err, r.stdout, r.stderr)
		}
		if result := answer.Data.Result; len(result) != 1 || fmt.Sprint(result[0].Value[1]) != "2" {
			return errors.New(r.stdout)
		}
		return nil
	})
}

// rotated: logrotate takes the log away, and the gateway goes on in a new one.
func (in *installation) rotated(t *testing.T) {
	const log = "/var/log/sallyport/decisions.jsonl"
	eventually(t, "the refusals are in the log", func() error {
		if n := strings.Count(readFile(t, in.path(log)), `"zoom-memo"`); n < 2 {
			return fmt.Errorf("%d of them are", n)
		}
		return nil
	})
	in.do(t, "logrotate", "--force", "/etc/logrotate.d/sallyport")
	eventually(t, "the gateway opens its log again", func() error { return exists(in.path(log)) })
	in.wantBan(t)
	eventually(t, "new refusals are in the new log", func() error {
		if !strings.Contains(readFile(t, in.path(log)), `"zoom-memo"`) {
			return errors.New("none is")
		}
		return nil
	})
	if !strings.Contains(readFile(t, in.path(log+".1")), `"zoom-memo"`) {
		t.Error("the old log has lost what was in it")
	}
}

// reconfigured: an administrator's edit is in force without a restart, by the
// program that the package brings for that.
func (in *installation) reconfigured(t *testing.T) {
	file := in.path("/etc/sallyport/sallyport.yaml")
	text := changed(t, readFile(t, file), "  drain: 1m\n", "  drain: 1h\n  deny_networks: none\n")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	before := in.property(t, "MainPID")
	if got := in.do(t, "/usr/lib/sallyport/upgrade"); !strings.Contains(got, "has taken over from "+before) {
		t.Errorf("it says %q", got)
	}
	if after := in.property(t, "MainPID"); after == before {
		t.Error("the same process runs")
	}
	in.wantBan(t)
}

// upgraded: the other version serves, and a tunnel that was open before stays open.
func (in *installation) upgraded(t *testing.T) {
	if got := in.version(t); got != versionBefore {
		t.Errorf("version %s runs", got)
	}
	var conn net.Conn
	var reader *bufio.Reader
	var echo string
	in.within(t, func() (err error) {
		echo = echoServer(t)
		conn, reader, err = connectVia("127.0.0.1:3128", echo)
		return err
	})
	defer conn.Close()
	before := in.property(t, "MainPID")
	r := in.try(t, append(in.install, in.after)...)
	if r.code != 0 || !strings.Contains(r.stdout, "has taken over from "+before) {
		t.Errorf("status %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if got := in.version(t); got != versionAfter {
		t.Errorf("version %s runs after the upgrade", got)
	}
	if got := in.property(t, "NRestarts"); got != "0" {
		t.Errorf("it was started again %s times", got)
	}
	if err := echoIn(conn, reader, "still here"); err != nil {
		t.Errorf("the tunnel of before: %v", err)
	}
	if !strings.Contains(readFile(t, in.path("/etc/sallyport/sallyport.yaml")), "deny_networks: none") {
		t.Error("the upgrade has replaced an edited configuration")
	}
	in.wantBan(t)
	conn.Close()
	eventually(t, "the old process ends with its last tunnel", func() error {
		if in.try(t, "test", "-e", "/proc/"+before).code == 0 {
			return errors.New("it runs")
		}
		return nil
	})
}

// version is the one that runs, as its metrics say.
func (in *installation) version(t *testing.T) string {
	t.Helper()
	r := in.client(t, need(t, "curl"), "--silent", "http://127.0.0.1:9180/metrics")
	_, rest, _ := strings.Cut(line1(r.stdout, "sallyport_build_info{"), `,version="`)
	version, _, _ := strings.Cut(rest, `"`)
	return version
}

// notUpgraded: with a configuration that the new version does not take, the package
// is installed all the same, says what is wrong, and what runs goes on.
func (in *installation) notUpgraded(t *testing.T) {
	file := in.path("/etc/sallyport/sallyport.yaml")
	good := readFile(t, file)
	if err := os.WriteFile(file, []byte(good+"tennant: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := in.property(t, "MainPID")
	again := slices.Clone(in.install)
	if in.name == "rpm" {
		again = append(again, "--force")
	}
	r := in.try(t, append(again, in.after)...)
	if in.name == "deb" && (r.code != 0 || !strings.Contains(r.stdout+r.stderr, "tennant") || !strings.Contains(r.stderr, "goes on as it was")) {
		t.Errorf("status %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := in.try(t, "/usr/lib/sallyport/upgrade"); r.code != 1 || !strings.Contains(r.stdout+r.stderr, "tennant") {
		t.Errorf("upgrade: status %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if after := in.property(t, "MainPID"); after != before {
		t.Errorf("process %s runs, and not %s", after, before)
	}
	in.wantBan(t)
	if err := os.WriteFile(file, []byte(good), 0o644); err != nil {
		t.Fatal(err)
	}
}

// removed: nothing runs, and what was configured and written is still there.
func (in *installation) removed(t *testing.T) {
	in.do(t, in.remove...)
	if r := in.try(t, "systemctl", "is-active", "sallyport.service"); strings.TrimSpace(r.stdout) != "inactive" {
		t.Errorf("the service is %s", r.stdout)
	}
	if r := in.try(t, "sh", "-c", "grep --files-with-matches --no-messages --line-regexp sallyport /proc/[0-9]*/comm"); r.stdout != "" {
		t.Errorf("it runs: %s", r.stdout)
	}
	if got := in.do(t, "systemctl", "--failed", "--no-legend"); got != "" {
		t.Errorf("failed: %s", got)
	}
	config := "/etc/sallyport/sallyport.yaml"
	if in.name == "rpm" {
		config += ".rpmsave"
	}
	for _, path := range []string{config, "/var/log/sallyport/decisions.jsonl"} {
		if err := exists(in.path(path)); err != nil {
			t.Errorf("%s has gone: %v", path, err)
		}
	}
	for _, path := range []string{"/usr/bin/sallyport", "/usr/lib/systemd/system/sallyport.service", "/usr/share/sallyport", "/usr/lib/sallyport"} {
		if exists(in.path(path)) == nil {
			t.Errorf("%s is still there", path)
		}
	}
}

// purged: nothing is left but the user.
func (in *installation) purged(t *testing.T) {
	if in.purge == nil {
		t.Skip("rpm knows no purge")
	}
	in.do(t, in.purge...)
	left := in.do(t, "find", "/etc", "/usr", "/var", "/run", "-name", "*sallyport*", "-not", "-path", "/var/tmp/*", "-not", "-path", "/run/host/*")
	if left != "" {
		t.Errorf("left behind:\n%s", left)
	}
	in.do(t, "systemctl", "daemon-reload")
	if r := in.try(t, "systemctl", "cat", "sallyport.service"); r.code == 0 {
		t.Errorf("systemd knows it:\n%s", r.stdout)
	}
	in.do(t, "getent", "passwd", "sallyport")
	if got := in.do(t, "dpkg", "--audit"); strings.Contains(got, "sallyport") {
		t.Errorf("dpkg complains:\n%s", got)
	}
}
