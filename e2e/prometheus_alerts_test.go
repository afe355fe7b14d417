package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// alertPatience is how long an alert may take to fire or to end: some windows of
// eight seconds, on a machine that has more to do.
const alertPatience = 45 * time.Second

// TestPrometheus has a real Prometheus watch two gateways, with the rules and
// alerts as shipped but for their durations (see sooner). On a healthy fleet no
// alert fires. Then things break: the alerts that should fire do and no other,
// and they end when the trouble does. All the while every recording rule and
// every panel of every dashboard has something to show.
func TestPrometheus(t *testing.T) {
	for _, program := range []string{"prometheus", "unbound"} {
		need(t, program)
	}
	f := startWatchedFleet(t)
	people := openOffice(t, f)
	pager := startAlertmanager(t)
	dir := t.TempDir()
	p := startPrometheus(t, map[string]string{"a": f.a.admin, "b": f.b.admin},
		[]string{hastened(t, dir, "rules.yaml"), hastened(t, dir, "alerts.yaml")}, pager.address)
	w := &watch{prometheus: p, pager: pager}

	w.healthy(t)
	w.through(t, f.breakages(t))
	f.grant(t)
	f.widen(t)
	w.through(t, f.holes(t))
	w.through(t, trouble{
		name: "a surge", want: []string{"SallyportRefusalsSurge ticket dns"},
		begin: func() { people.zoom.Store(20) }, end: func() { people.zoom.Store(1) },
	})
	t.Run("recorded", func(t *testing.T) { wantRecorded(t, p) })
	t.Run("panels", func(t *testing.T) { wantPanels(t, p) })

	follows := f.silence(t, w)
	w.only(t, "one gateway is gone", func() { f.b.stop(t) }, []string{"SallyportInstanceDown ticket b"}, follows)
	w.only(t, "both are gone", func() { f.a.stop(t) }, []string{"SallyportDown page"}, append(follows, "SallyportInstanceDown ticket b"))
}

// watch is somebody who looks at the alerts of a Prometheus, and at what an
// Alertmanager tells of them.
type watch struct {
	prometheus *prometheusServer
	pager      *pager
}

// trouble is something that begins and ends, what must fire between, what may
// because it follows, and which of it a receiver must be told of, and of its end.
// While it lasts nobody may be told of the tickets that follow from another
// alert; as it ends, one of the two may end a round before the other.
type trouble struct {
	name       string
	want, may  []string
	told       [][2]string // receiver, alert
	untold     []string
	begin, end func()
}

// healthy wants silence until the rules have seen every window full.
func (w *watch) healthy(t *testing.T) {
	t.Helper()
	down := []string{"SallyportDown page"} // for all that Prometheus knows as it starts
	w.until(t, "both are scraped", down, func(firing []string) error {
		lines, err := w.prometheus.graph("count(up) == 2")
		if err == nil && (!drawn(lines) || len(firing) > 0) {
			err = fmt.Errorf("not yet")
		}
		return err
	})
	w.until(t, "a healthy fleet", nil, func([]string) error {
		lines, err := w.prometheus.graph(`count_over_time(instance:sallyport_dns_queries:rate1h{instance="b"}[1m]) >= 8`)
		if err == nil && !drawn(lines) {
			err = fmt.Errorf("not evaluated eight times")
		}
		return err
	})
}

// through has the trouble begin, waits for its alerts, and has it end.
func (w *watch) through(t *testing.T, x trouble) {
	t.Helper()
	w.only(t, x.name, x.begin, x.want, x.may)
	for _, told := range x.told {
		w.pager.wantTold(t, told[0], told[1])
	}
	w.pager.wantUntold(t, x.untold)
	x.end()
	w.until(t, x.name+" is over", append(slices.Clone(x.want), x.may...), func(firing []string) error {
		if len(firing) > 0 {
			return fmt.Errorf("still firing: %s", strings.Join(firing, ", "))
		}
		return nil
	})
	for _, told := range x.told {
		w.pager.wantEnded(t, told[0], told[1])
	}
}

// only wants these alerts to fire after something has happened, and no others but
// those that may.
func (w *watch) only(t *testing.T, what string, happens func(), want, may []string) {
	t.Helper()
	happens()
	w.until(t, what, append(slices.Clone(want), may...), func(firing []string) error {
		for _, name := range want {
			if !slices.Contains(firing, name) {
				return fmt.Errorf("%s does not fire; what fires is: %s", name, strings.Join(firing, ", "))
			}
		}
		return nil
	})
}

// until looks at what fires until it is as it should be. What may not fire at all
// ends the test.
func (w *watch) until(t *testing.T, what string, may []string, check func(firing []string) error) {
	t.Helper()
	began := time.Now()
	for {
		var firing []string
		for _, a := range w.prometheus.alerts(t) {
			if a.State != "firing" {
				continue
			}
			if !slices.Contains(may, a.String()) {
				t.Fatalf("%s: %s fires: %s", what, a, a.Annotations["description"])
			}
			firing = append(firing, a.String())
		}
		err := check(firing)
		if err == nil {
			t.Logf("%s: %.1f s", what, time.Since(began).Seconds())
			return
		}
		if time.Since(began) > alertPatience {
			t.Fatalf("%s: not within %v: %v", what, alertPatience, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// breakages are all at once, and but for a list and what both have in common at
// the first gateway.
func (f *watchedFleet) breakages(t *testing.T) trouble {
	var leave func()
	settings := readFile(t, filepath.Join(f.a.dir, "watched.yaml"))
	users := readFile(t, filepath.Join(f.a.dir, "users.htpasswd"))
	return trouble{
		name: "breakages",
		want: []string{
			"SallyportPolicyReloadFailing ticket a",
			"SallyportRestartNeeded ticket a",
			"SallyportListStale ticket b partners",
			"SallyportIdentitySourceDown ticket a users",
			"SallyportUpstreamDown ticket a", "SallyportUpstreamDown ticket b",
			"SallyportParentDown ticket a", "SallyportParentDown ticket b",
			"SallyportTunnelsNearLimit ticket a",
			"SallyportDecisionLogNotWritable ticket a",
			"SallyportAccessLogFailing ticket a squid",
			"SallyportCertificateExpiring page a tls", "SallyportCertificateExpiring page a",
		},
		told: [][2]string{
			{"page", "SallyportCertificateExpiring page a tls"},
			{"ticket", "SallyportPolicyReloadFailing ticket a"},
			{"ticket", "SallyportListStale ticket b partners"},
		},
		// What is sent to the parent fails.
		may: []string{"SallyportProxyErrors ticket a", "SallyportProxyErrors ticket b", "SallyportProxyErrors page a", "SallyportProxyErrors page b"},
		begin: func() {
			f.a.replace(t, "policy.yaml", changed(t, f.policy, "action: monitor", "action: monitr"))
			f.a.replace(t, "watched.yaml", settings+"# edited\n")
			f.a.replace(t, "users.htpasswd", "no hash\n")
			if err := os.Remove(filepath.Join(f.b.dir, "partners.txt")); err != nil {
				t.Fatal(err)
			}
			f.a.certificate(t, f.a.dir, 12*time.Hour)
			f.a.fill(t, true)
			leave = f.a.hold(t, 34, f.echo)
			f.parent.server.Close()
			f.first.kill(t)
		},
		end: func() {
			f.first.again(t)
			f.parent.again(t)
			leave()
			f.a.fill(t, false)
			f.a.certificate(t, f.a.dir, 365*24*time.Hour)
			f.b.replace(t, "partners.txt", "partner-meetings.example\n")
			f.a.replace(t, "users.htpasswd", users)
			f.a.replace(t, "watched.yaml", settings)
			f.a.replace(t, "policy.yaml", f.policy)
		},
	}
}

// holes are of the fleet: an edit opens the ban, and one gateway has a newer one
// that does not reach the other.
func (f *watchedFleet) holes(t *testing.T) trouble {
	const banned = "what: {apps: [zoom]}, action: block"
	return trouble{
		name: "holes",
		want: []string{
			"SallyportBlocksGone page dns",
			"SallyportAppBlocksGone ticket zoom",
			"SallyportPolicyBehind ticket b",
			"SallyportPolicyRevisionsDiffer ticket",
		},
		told: [][2]string{{"page", "SallyportBlocksGone page dns"}, {"ticket", "SallyportPolicyBehind ticket b"}},
		// b is behind; the door refuses nothing at all.
		untold: []string{"SallyportPolicyRevisionsDiffer ticket", "SallyportAppBlocksGone ticket zoom"},
		begin: func() {
			open := changed(t, f.policy, banned, "what: {apps: [zoom]}, action: allow")
			f.b.replace(t, "policy.yaml", open)
			if err := os.Chtimes(filepath.Join(f.b.dir, "policy.yaml"), time.Time{}, time.Now().Add(-time.Minute)); err != nil {
				t.Fatal(err)
			}
			f.a.replace(t, "policy.yaml", open+"# and an edit that does not get to b\n")
		},
		end: func() {
			// b last: it is behind for as long as the two differ.
			f.a.replace(t, "policy.yaml", f.policy)
			f.b.replace(t, "policy.yaml", f.policy)
		},
	}
}

// silence ends both upstreams for good, waits for the page, and gives what may
// fire from then on. That it ends again is left to promtool: it takes a gateway
// half a minute to try an upstream that was away.
func (f *watchedFleet) silence(t *testing.T, w *watch) (follows []string) {
	t.Helper()
	want := []string{"SallyportUpstreamsDown page a", "SallyportUpstreamsDown page b"}
	follows = slices.Clone(want)
	// Names that are not in the cache end in SERVFAIL, and take their time.
	for _, name := range []string{"DNSErrors page", "DNSErrors ticket", "DNSSlow page", "DNSSlow ticket", "ProxyErrors page", "ProxyErrors ticket", "UpstreamDown ticket"} {
		follows = append(follows, "Sallyport"+name+" a", "Sallyport"+name+" b")
	}
	w.only(t, "no upstream answers", func() {
		f.first.kill(t)
		f.second.kill(t)
	}, want, follows)
	return follows
}
