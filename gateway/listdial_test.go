package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestListDial looks names up where the gateway does, and then elsewhere.
func TestListDial(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	nowhere := errors.New("no such name here")
	var asked []string
	answer := func(who string, addrs []netip.Addr, err error) lookup {
		return func(_ context.Context, host string) ([]netip.Addr, error) {
			asked = append(asked, who+" "+host)
			return addrs, err
		}
	}
	here := []netip.Addr{loopback()}
	for _, test := range []struct {
		name, host string
		lookups    []lookup
		want       string // who was asked
		err        string
	}{
		{"an address", "127.0.0.1", []lookup{answer("door", nil, nowhere)}, "[]", ""},
		{"by the door", "lists.example", []lookup{answer("door", here, nil), answer("system", here, nil)}, "[door lists.example]", ""},
		{"no door yet", "lists.example", []lookup{answer("door", nil, nil), answer("system", here, nil)}, "[door lists.example system lists.example]", ""},
		{"nowhere", "lists.example", []lookup{answer("door", nil, nowhere), answer("system", nil, nowhere)}, "[door lists.example system lists.example]", `no address was found for "lists.example"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked = nil
			conn, err := newListDialer(time.Second, test.lookups...).dial(t.Context(), "tcp", net.JoinHostPort(test.host, port))
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				_ = conn.Close()
			}
			if got := fmt.Sprint(asked); got != test.want {
				t.Errorf("asked %s, want %s", got, test.want)
			}
		})
	}
}

func TestPlainServers(t *testing.T) {
	got := plainServers([]string{
		"192.0.2.1", "udp://192.0.2.2", "udp://192.0.2.3:5353", "tcp://[2001:db8::1]:53", "[2001:db8::2]", "2001:db8::3",
		"tls://192.0.2.9", "https://192.0.2.9/dns-query", "udp://resolver.example",
	})
	want := "[192.0.2.1:53 192.0.2.2:53 192.0.2.3:5353 [2001:db8::1]:53 [2001:db8::2]:53 [2001:db8::3]:53]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestLookupAt asks the resolver that the configuration names.
func TestLookupAt(t *testing.T) {
	find := lookupAt([]string{"tls://192.0.2.9", "udp://" + stubUpstream(t)})
	addrs, err := find(t.Context(), "lists.example")
	if err != nil || fmt.Sprint(addrs) != "[127.0.0.1]" {
		t.Errorf("got %v, %v", addrs, err)
	}
}

// TestFetchByName has a running gateway look the server's name up as it does
// for its clients, although its policy refuses that very name.
func TestFetchByName(t *testing.T) {
	server := serveList(t, listOf("bad", 100))
	_, port, err := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(fetched("http://lists.example:"+port), "action: block}", "action: block}\n  - {name: itself, what: {domains: [lists.example]}, action: block}", 1)
	g := start(t, memo, slowPoll)
	first := g.engine.Program().Revision()
	writeFile(t, g.policy, text)
	g.wantNewRevision(first)
	if !g.blockedByDNS("lists.example") || !g.blockedByDNS("bad7.example") {
		t.Error("the policy does not decide")
	}
}
