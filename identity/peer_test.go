package identity

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/sallyport/sallyport/policy"
)

func TestByPeer(t *testing.T) {
	r := resolver(t, Config{Remember: time.Hour}, "alice")
	signIn(t, r, other, "alice")
	five := []string{"a", "b", "c", "d", "AA-BB-CC-DD-EE-FF"}
	for _, test := range []struct {
		name    string
		addr    netip.Addr
		peer    Peer
		user    string
		devices string
		source  string
	}{
		{"nothing proven", desk, Peer{Source: SourceCertificate}, "", "", SourceNetwork},
		{"nothing proven, user remembered", other, Peer{}, "alice", "", SourceRemembered},
		{"device", desk, Peer{Devices: []string{"laptop-17"}, Source: SourcePath}, "", "laptop-17", SourcePath},
		{"device in capitals", desk, Peer{Devices: []string{"Laptop-17.Corp"}, Source: SourceCertificate}, "", "laptop-17.corp", SourceCertificate},
		{"MAC address", desk, Peer{Devices: []string{"aa-bb-cc-dd-ee-ff"}, Source: SourceCertificate}, "", "aa:bb:cc:dd:ee:ff", SourceCertificate},
		{"more devices than are kept", desk, Peer{Devices: five, Source: SourceCertificate}, "", "a b c d aa:bb:cc:dd:ee:ff", SourceCertificate},
		{"user whom the htpasswd file lacks", desk, Peer{User: "Priya@corp.example", Source: SourceCertificate}, "priya@corp.example", "", SourceCertificate},
		{"user and device", desk, Peer{User: "priya", Devices: []string{"x", "y"}, Source: SourceCertificate}, "priya", "x y", SourceCertificate},
		{"proven user where another is remembered", other, Peer{User: "priya", Source: SourceCertificate}, "priya", "", SourceCertificate},
		{"device where a user is remembered", other, Peer{Devices: []string{"x"}, Source: SourceCertificate}, "alice", "x", "certificate+remembered"},
		{"the remembered user, proven", other, Peer{User: "alice", Devices: []string{"x"}, Source: SourceCertificate}, "alice", "x", SourceCertificate},
		{"no address", netip.Addr{}, Peer{Devices: []string{"x"}, Source: SourcePath}, "", "x", SourcePath},
	} {
		for _, again := range []string{"", ", again"} { // the second time from memory
			given := slices.Clone(test.peer.Devices)
			got := r.ByPeer(test.addr, test.peer)
			if got.User != test.user || strings.Join(got.Devices, " ") != test.devices || got.Source != test.source || got.Addr != test.addr {
				t.Errorf("%s%s: %+v, want user %q, devices %q, source %s", test.name, again, got.Identity, test.user, test.devices, test.source)
			}
			if !slices.Equal(given, test.peer.Devices) {
				t.Errorf("%s: the peer was changed: %q", test.name, test.peer.Devices)
			}
		}
	}
	mapped := r.ByPeer(netip.MustParseAddr("::ffff:10.4.7.7"), Peer{Devices: []string{"x"}, Source: SourcePath})
	if mapped.Addr != desk {
		t.Errorf("a mapped address stayed %s", mapped.Addr)
	}
}

// policyOf compiles a policy under which some devices and a user may do what
// others may not.
func policyOf(t testing.TB, revision string) *policy.Program {
	t.Helper()
	doc, problems := policy.Parse([]policy.File{{Name: "p.yaml", Data: []byte(`
version: 1
groups:
  rooms: {devices: ["AA-BB-CC-DD-EE-0F", Room-1.Corp.Example]}
rules:
  - {name: rooms, who: {groups: [rooms]}, what: {domains: [zoom.us]}, action: allow}
  - {name: named, who: {devices: [LAPTOP-17]}, what: {domains: [zoom.us]}, action: allow}
  - {name: chief, who: {users: [chief@corp.example]}, what: {domains: [zoom.us]}, action: allow}
  - {name: memo, what: {domains: [zoom.us]}, action: block}
default: allow
`)}})
	if doc == nil || problems.HasErrors() {
		t.Fatal(problems)
	}
	program, problems := policy.Compile(doc, policy.Sources{Revision: revision})
	if program == nil {
		t.Fatal(problems)
	}
	return program
}

// Names from certificates and paths mean in a policy what they say, however
// either side writes them.
func TestPolicyKnowsPeers(t *testing.T) {
	keys := deviceKeys(t, firstKey)
	path := func(name string) Peer {
		device, ok := keys.Verify(sign(t, keys, name))
		if !ok {
			t.Fatalf("%q is not verified", name)
		}
		return Peer{Devices: []string{device}, Source: SourcePath}
	}
	certificate := func(user string, devices ...string) Peer {
		return Peer{User: user, Devices: devices, Source: SourceCertificate}
	}
	engine := policy.NewEngine(policyOf(t, "one"))
	r := New(Config{}, engine)
	for _, test := range []struct {
		name string
		peer Peer
		want string
	}{
		{"path, MAC address of a group", path("aa:bb:cc:dd:ee:0f"), "rooms"},
		{"path, name of a group", path("room-1.corp.example"), "rooms"},
		{"path, device of a rule", path("Laptop-17"), "named"},
		{"path, another device", path("laptop-18"), "memo"},
		{"certificate, MAC address", certificate("", "AABB.CCDD.EE0F"), "rooms"},
		{"certificate, second name", certificate("", "x.corp.example", "ROOM-1.corp.example"), "rooms"},
		{"certificate, user", certificate("Chief@corp.example"), "chief"},
		{"certificate, other user", certificate("priya@corp.example", "x"), "memo"},
		{"nothing", Peer{}, "memo"},
	} {
		for range 2 {
			subject := r.ByPeer(desk, test.peer)
			got := engine.Decide(&policy.Request{Subject: subject, Door: policy.DoorDNS, At: time.Now(), Host: policy.HostFromCanonicalName("zoom.us")})
			if got.RuleName() != test.want {
				t.Errorf("%s: rule %s, want %s", test.name, got.RuleName(), test.want)
			}
		}
	}
}

// A subject of an earlier policy is not given out again.
func TestByPeerFollowsThePolicy(t *testing.T) {
	engine := policy.NewEngine(policyOf(t, "one"))
	r := New(Config{}, engine)
	peer := Peer{Devices: []string{"laptop-17"}, Source: SourcePath}
	for _, revision := range []string{"one", "two", "two", "three"} { // also where the same comes back
		engine.Swap(policyOf(t, revision))
		now := engine.Subject(policy.Identity{})
		if got := r.ByPeer(desk, peer); !got.SameProgram(&now) {
			t.Errorf("the subject is not of policy %q, which was just put in force", revision)
		}
	}
}

// A peer who does not come back must not hold a policy in memory, with the
// lists that it has.
func TestPeersKeepNoPolicyAlive(t *testing.T) {
	first := policyOf(t, "one")
	old := weak.Make(first)
	engine := policy.NewEngine(first)
	first = nil
	r := New(Config{}, engine)
	r.ByPeer(desk, Peer{Devices: []string{"room-1.corp.example"}, Source: SourcePath})
	r.ByPeer(other, Peer{User: "chief@corp.example", Source: SourceCertificate})
	runtime.GC()
	if old.Value() == nil {
		t.Fatal("the policy in force is gone")
	}
	engine.Swap(policyOf(t, "two"))
	for range 3 {
		runtime.GC()
	}
	if old.Value() != nil {
		t.Error("a peer seen under an earlier policy keeps it in memory")
	}
	kept := 0
	for i := range r.peers.shards {
		kept += len(r.peers.shards[i].byKey)
	}
	if kept != 2 {
		t.Errorf("%d peers are kept, want 2", kept)
	}
}

// The user that is remembered at an address comes and goes.
func TestByPeerForgetsWithTheAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resolver(t, Config{Remember: time.Hour}, "alice")
		peer := Peer{Devices: []string{"x"}, Source: SourceCertificate}
		for _, want := range []string{"", "alice", ""} {
			if want != "" {
				signIn(t, r, desk, want)
			} else {
				time.Sleep(time.Hour)
			}
			if got := r.ByPeer(desk, peer); got.User != want || got.Devices[0] != "x" {
				t.Errorf("user %q, want %q", got.User, want)
			}
		}
	})
}

func TestPeersAreBounded(t *testing.T) {
	r := New(Config{}, unresolved{})
	for i := range 2 * peerShards * maxShardPeer {
		name := fmt.Sprint("device-", i)
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if got := r.ByPeer(addr, Peer{Devices: []string{name}, Source: SourcePath}); got.Devices[0] != name {
			t.Fatalf("asked for %s, got %s", name, got.Devices[0])
		}
	}
	kept := 0
	for i := range r.peers.shards {
		kept += len(r.peers.shards[i].byKey)
	}
	if limit := peerShards * maxShardPeer; kept > limit || kept < limit/2 {
		t.Errorf("%d peers are kept, want at most %d and not far fewer", kept, limit)
	}
}

func TestByPeerConcurrently(t *testing.T) {
	engine := policy.NewEngine(policyOf(t, "one"))
	r := New(Config{}, engine)
	other := policyOf(t, "two")
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				if worker == 0 && i%100 == 0 {
					other = engine.Swap(other)
				}
				device := fmt.Sprint("d", i%7)
				if got := r.ByPeer(desk, Peer{Devices: []string{device}, Source: SourcePath}); got.Devices[0] != device {
					t.Errorf("asked for %s, got %s", device, got.Devices[0])
				}
			}
		})
	}
	wg.Wait()
}

func TestByPeerDoesNotAllocate(t *testing.T) {
	r := New(Config{Remember: time.Hour}, policy.NewEngine(policyOf(t, "one")))
	for name, peer := range map[string]Peer{
		"device":          {Devices: []string{"laptop-17"}, Source: SourcePath},
		"user and device": {User: "chief@corp.example", Devices: []string{"a", "b"}, Source: SourceCertificate},
	} {
		r.ByPeer(desk, peer)
		if n := testing.AllocsPerRun(100, func() { r.ByPeer(desk, peer) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkByPeer(b *testing.B) {
	r := New(Config{}, policy.NewEngine(policyOf(b, "one")))
	peer := Peer{Devices: []string{"laptop-17.corp.example"}, Source: SourceCertificate}
	b.ReportAllocs()
	for b.Loop() {
		r.ByPeer(desk, peer)
	}
}
