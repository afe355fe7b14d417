package dnsfilter

import (
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
	"github.com/sallyport/sallyport/dnsfilter/ingress"
	"github.com/sallyport/sallyport/policy"
)

// withOption adds an EDNS option to a query.
func withOption(m *dns.Msg, o dns.EDNS0) *dns.Msg {
	if m.IsEdns0() == nil {
		withEDNS(m, 1232, false)
	}
	opt := m.IsEdns0()
	opt.Option = append(opt.Option, o)
	return m
}

func optionOf[T dns.EDNS0](m *dns.Msg) (found T) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if f, ok := o.(T); ok {
				return f
			}
		}
	}
	return found
}

func cookieOf(text string) dns.EDNS0 {
	return &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: text}
}

func TestCookies(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), func(c *Config) { c.RequireCookies = true })
	const client = "0102030405060708"

	reply := o.ask(query("zoom.us", dns.TypeA))
	if !reply.Truncated || len(reply.Answer) != 0 {
		t.Errorf("without a cookie: %v", reply)
	}
	reply = o.ask(withOption(query("zoom.us", dns.TypeA), cookieOf(client)))
	cookie := optionOf[*dns.EDNS0_COOKIE](reply)
	if reply.Rcode != dns.RcodeBadCookie || cookie == nil || len(cookie.Cookie) != 48 {
		t.Fatalf("with a client cookie: %v", reply)
	}
	reply = o.ask(withOption(query("zoom.us", dns.TypeA), cookieOf(cookie.Cookie)))
	if reply.Rcode != dns.RcodeSuccess || len(reply.Answer) != 1 || optionOf[*dns.EDNS0_COOKIE](reply) == nil {
		t.Errorf("with both: %v", reply)
	}
	forged := cookie.Cookie[:47] + string("0123456789abcdef"[(hexDigit(cookie.Cookie[47])+1)%16])
	if reply = o.ask(withOption(query("zoom.us", dns.TypeA), cookieOf(forged))); reply.Rcode != dns.RcodeBadCookie {
		t.Errorf("with a forged one: %v", reply)
	}
	o.clock.Advance(2 * time.Hour)
	if reply = o.ask(withOption(query("zoom.us", dns.TypeA), cookieOf(cookie.Cookie))); reply.Rcode != dns.RcodeBadCookie {
		t.Errorf("with an old one: %v", reply)
	}
	if reply = o.askOver("tcp", query("zoom.us", dns.TypeA)); len(reply.Answer) != 1 {
		t.Errorf("over TCP: %v", reply)
	}
}

// A client may ask for a cookie and nothing else (RFC 7873 §5.4).
func TestCookieAlone(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), nil)
	m := withOption(query("zoom.us", dns.TypeA), cookieOf("0102030405060708"))
	m.Question = nil
	reply := o.ask(m)
	if c := optionOf[*dns.EDNS0_COOKIE](reply); reply.Rcode != dns.RcodeSuccess || len(reply.Question) != 0 || c == nil || len(c.Cookie) != 48 {
		t.Errorf("reply %v", reply)
	}
	if n := len(o.decisions()); n != 0 {
		t.Errorf("%d decisions about nothing", n)
	}
}

func hexDigit(c byte) int {
	b, _ := hex.DecodeString("0" + string(c))
	return int(b[0])
}

// A client that has proven nothing gets no more bytes than it sent, so that
// nobody can have us flood somebody else; a cookie for it apart (RFC 7873 §5.2.3).
func TestNoAmplificationForTheUnproven(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), func(c *Config) { c.RequireCookies = true })
	stranger := openDoor(t, memo(policy.Rule{}), func(c *Config) { c.Clients, c.RequireCookies = nil, true })
	for _, m := range []*dns.Msg{query("zoom.us", dns.TypeA), withEDNS(query("zoom.us", dns.TypeTXT), 4096, true), query("a.example", dns.TypeANY)} {
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		for _, door := range []*door{o, stranger} {
			if reply := respond(door.handler, wire, ingress.UDP); len(reply) > len(wire) {
				t.Errorf("%d bytes for %d: %v", len(reply), len(wire), m)
			}
		}
	}
	wire, err := withOption(query("zoom.us", dns.TypeA), cookieOf("0102030405060708")).Pack()
	if err != nil {
		t.Fatal(err)
	}
	if reply := respond(stranger.handler, wire, ingress.UDP); len(reply) > len(wire) {
		t.Errorf("a stranger gets %d bytes for %d", len(reply), len(wire))
	}
}

func TestRates(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), func(c *Config) { c.Rate, c.Burst = 1, 5 })
	wire := rawQuery()
	answered, slipped, dropped := 0, 0, 0
	for range 25 {
		reply := respond(o.handler, wire, ingress.UDP)
		switch {
		case reply == nil:
			dropped++
		case reply[2]&(dnswire.FlagTC>>8) != 0:
			slipped++
		default:
			answered++
		}
	}
	if answered != 5 || slipped != 10 || dropped != 10 {
		t.Errorf("%d answered, %d slipped, %d dropped", answered, slipped, dropped)
	}
	var m dns.Msg
	if err := m.Unpack(respond(o.handler, wire, ingress.TCP)); err != nil || m.Rcode != dns.RcodeRefused {
		t.Errorf("over TCP: %v, %v", err, &m)
	}
	if n := o.settled(21, "sallyport_dns_shed_total", "reason", "rate"); n != 21 {
		t.Errorf("%v counted", n)
	}
	o.clock.Advance(3 * time.Second)
	if reply := respond(o.handler, wire, ingress.UDP); reply == nil || reply[2]&(dnswire.FlagTC>>8) != 0 {
		t.Error("still held after a silence")
	}
}

// withSubnet adds a client subnet; family 0 has no address.
func withSubnet(m *dns.Msg, family uint16, subnet string) *dns.Msg {
	o := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family}
	if family != 0 {
		p := netip.MustParsePrefix(subnet)
		o.SourceNetmask, o.Address = uint8(p.Bits()), p.Addr().AsSlice()
	}
	return withOption(m, o)
}

func TestClientSubnet(t *testing.T) {
	stranger := openDoor(t, memo(policy.Rule{}), nil)
	trusted := openDoor(t, memo(policy.Rule{}), func(c *Config) { c.SubnetFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	tests := []struct {
		family uint16
		subnet string
		client string // whom the policy judges; "": nobody, it is refused
	}{
		{1, "198.51.100.7/32", "198.51.100.7"},
		{2, "2001:db8::7/128", "2001:db8::7"},
		{2, "::ffff:198.51.100.7/128", "198.51.100.7"},
		{1, "198.51.100.0/24", ""},
		{1, "198.51.100.6/31", ""},
		{2, "2001:db8::/64", ""},
		{1, "0.0.0.0/0", ""},
		{2, "::/0", ""},
		{0, "", ""},
	}
	for _, tt := range tests {
		subnet := func() *dns.Msg { return withSubnet(query("zoom.us", dns.TypeA), tt.family, tt.subnet) }
		reply := stranger.ask(subnet())
		if d := stranger.lastDecision(); d.Client.String() != "127.0.0.1" || optionOf[*dns.EDNS0_SUBNET](reply) != nil {
			t.Errorf("%q: a stranger's word is taken: %v, %v", tt.subnet, d.Client, reply)
		}

		before := len(trusted.decisions())
		reply = trusted.ask(subnet())
		said := optionOf[*dns.EDNS0_SUBNET](reply)
		if tt.client == "" {
			if e := ede(reply); reply.Rcode != dns.RcodeRefused || e == nil || e.InfoCode != dnswire.EDEProhibited || said != nil || len(trusted.decisions()) != before {
				t.Errorf("%q: %v, %d decisions", tt.subnet, reply, len(trusted.decisions())-before)
			}
			continue
		}
		if d := trusted.lastDecision(); len(trusted.decisions()) != before+1 || d.Client.String() != tt.client || d.Subject.Addr.String() != tt.client || d.Subject.Source != sourceSubnet {
			t.Errorf("%q: asked for %v, %+v", tt.subnet, d.Client, d.Subject)
		}
		if said == nil || said.SourceScope != said.SourceNetmask || said.Family != tt.family {
			t.Errorf("%q: the answer does not say for whom it is: %v", tt.subnet, reply)
		}
	}
	// Without one it is the forwarder that asks.
	trusted.ask(query("zoom.us", dns.TypeA))
	if d := trusted.lastDecision(); d.Client.String() != "127.0.0.1" || d.Subject.Source == sourceSubnet {
		t.Errorf("asked for %v, %+v", d.Client, d.Subject)
	}
}

func TestChaosAndAny(t *testing.T) {
	up := newZone(t, "a.example. 60 IN A 192.0.2.1")
	o := openDoor(t, memo(policy.Rule{}), nil, up)
	m := query("version.bind", dns.TypeTXT)
	m.Question[0].Qclass = dns.ClassCHAOS
	if reply := o.ask(m); reply.Rcode != dns.RcodeRefused {
		t.Errorf("version.bind: %v", reply)
	}
	reply := o.ask(query("a.example", dns.TypeANY))
	if len(reply.Answer) != 1 || reply.Answer[0].Header().Rrtype != dns.TypeHINFO || up.udp.Load() != 0 {
		t.Errorf("ANY: %v", reply)
	}
	if reply = o.ask(query("zoom.us", dns.TypeANY)); len(reply.Answer) != 2 {
		t.Errorf("ANY of a refused name: %v", reply)
	}
}

func TestOptionsOfEncryptedReplies(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), nil)
	m := withOption(query("zoom.us", dns.TypeA), &dns.EDNS0_PADDING{Padding: make([]byte, 20)})
	wire, err := withOption(m, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for transport, want := range map[ingress.Transport]struct{ padded, keepalive bool }{
		ingress.UDP: {}, ingress.TCP: {keepalive: true}, ingress.TLS: {true, true}, ingress.HTTPS: {padded: true}, ingress.QUIC: {padded: true},
	} {
		reply := respond(o.handler, wire, transport)
		var m dns.Msg
		if err := m.Unpack(reply); err != nil {
			t.Fatal(err)
		}
		if padded := len(reply)%468 == 0; padded != want.padded {
			t.Errorf("%s: %d bytes", transport, len(reply))
		}
		if keepalive := optionOf[*dns.EDNS0_TCP_KEEPALIVE](&m); (keepalive != nil) != want.keepalive || keepalive != nil && keepalive.Timeout != 100 {
			t.Errorf("%s: keepalive %v", transport, keepalive)
		}
	}
}

// Who has shown a certificate may ask from anywhere.
func TestPeersNeedNoNetwork(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{}), func(c *Config) { c.Clients = nil })
	desk := o.handler.newDesk()
	desk.Begin()
	q := &ingress.Query{Wire: rawQuery(), Client: netip.MustParseAddrPort("203.0.113.5:4000"), Transport: ingress.TLS}
	reply, _ := desk.Try(q, nil)
	if rcode := int(reply[3] & dnswire.MaskRcode); rcode != dnswire.RcodeRefused {
		t.Errorf("a stranger: rcode %d", rcode)
	}
	q.Peer = &Peer{Devices: []string{"laptop-7"}, Source: "certificate"}
	reply, _ = desk.Try(q, nil)
	if rcode := int(reply[3] & dnswire.MaskRcode); rcode != dnswire.RcodeNoError {
		t.Errorf("a peer: rcode %d", rcode)
	}
}

func TestPageSaysThatItIsForged(t *testing.T) {
	o := openDoor(t, memo(policy.Rule{Answer: policy.AnswerPage}), func(c *Config) { c.PageAddrs = []netip.Addr{netip.MustParseAddr("192.0.2.80")} })
	var codes []uint16
	for _, option := range o.ask(withEDNS(query("zoom.us", dns.TypeA), 1232, false)).IsEdns0().Option {
		if e, ok := option.(*dns.EDNS0_EDE); ok {
			codes = append(codes, e.InfoCode)
		}
	}
	if len(codes) != 2 || codes[0] != dnswire.EDEBlocked || codes[1] != dnswire.EDEForged {
		t.Errorf("%v", codes)
	}
}
