package e2e

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
)

// encryptedDoor is a gateway with every listener that DNS has.
type encryptedDoor struct {
	*gateway
	*authority
	tls, https, quic string // host:port
	spki             string
}

func startEncryptedDoor(t *testing.T, upstream int, more string) encryptedDoor {
	t.Helper()
	dir := t.TempDir()
	d := encryptedDoor{authority: newAuthority(t, dir)}
	d.spki = d.serverCertificate(t, dir, 7)
	d.gateway = startDoor(t, dir, upstreamLine(upstream)+encryptedLines+more)
	addresses := d.printed()
	d.tls, d.https, d.quic = addresses["dns tls"], addresses["dns https"], addresses["dns quic"]
	return d
}

// doorQuestions are one of each kind of answer.
var doorQuestions = []struct{ what, kind, name string }{
	{"allowed", "A", "www.rockets.example"},
	{"allowed, with parameters", "HTTPS", "www.rockets.example"},
	{"refused", "A", "us04web.zoom.us"},
	{"refused, no address", "HTTPS", "us04web.zoom.us"},
	{"refused for where it leads", "A", "vanity.rockets.example"},
	{"no data", "AAAA", "service.rockets.example"},
	{"no such name", "A", "nothing.rockets.example"},
	{"alias", "A", "alias.rockets.example"},
	{"more than a datagram holds", "TXT", "huge.rockets.example"},
	{"refused, a canary", "A", "use-application-dns.net"},
}

// TestEveryTransport asks the same over every transport, with real clients and
// with unbound and Knot Resolver behind the gateway, and wants one answer.
func TestEveryTransport(t *testing.T) {
	sallyport(t)
	zone := hugeText()
	unbound := startResolver(t, zone).port
	for name, upstream := range map[string]func(*testing.T) int{
		"unbound": func(*testing.T) int { return unbound },
		"knot":    func(t *testing.T) int { return startKnot(t, unbound) },
	} {
		t.Run(name, func(t *testing.T) {
			d := startEncryptedDoor(t, upstream(t), "block: {answer: nxdomain}\n")
			t.Run("kdig", d.kdigEverywhere)
			t.Run("quic", d.quicToo)
			t.Run("truncated", d.truncated)
			t.Run("counted", d.transportsCounted)
		})
	}
}

// hugeText is a record of some 4,000 bytes.
func hugeText() string {
	var b strings.Builder
	b.WriteString("huge.rockets.example. TXT")
	for i := range 20 {
		fmt.Fprintf(&b, " \"%02d%s\"", i, strings.Repeat("fourthousandbytes.", 11))
	}
	b.WriteByte('\n')
	return b.String()
}

func (d encryptedDoor) kdigEverywhere(t *testing.T) {
	verified := []string{"+tls-ca=" + d.file, "+tls-hostname=" + doorName}
	for _, q := range doorQuestions {
		plain := dig(t, "kdig", d.dns, q.kind, q.name, "+edns")
		if q.what == "allowed" && !slices.Equal(plain.data("A"), []string{"127.0.0.1"}) {
			t.Fatalf("the allowed name has no answer, so this proves nothing:\n%s", plain.raw)
		}
		if refused := plain.status == "NXDOMAIN" && strings.HasPrefix(plain.ede, "15"); refused != strings.HasPrefix(q.what, "refused") {
			t.Errorf("%s: refused is %v:\n%s", q.what, refused, plain.raw)
		}
		for transport, c := range map[string]struct {
			server string
			flags  []string
		}{
			"TCP":        {d.dns, []string{"+tcp"}},
			"TLS":        {d.tls, append([]string{"+tls"}, verified...)},
			"HTTPS":      {d.https, append([]string{"+https=/dns-query"}, verified...)},
			"HTTPS, GET": {d.https, append([]string{"+https=/dns-query", "+https-get"}, verified...)},
		} {
			got := dig(t, "kdig", c.server, q.kind, q.name, append(c.flags, "+edns")...)
			same(t, q.what+" over "+transport, &plain, &got)
		}
	}
}

// same compares two answers but for their TTLs.
func same(t *testing.T, what string, want, got *answer) {
	t.Helper()
	if got.status != want.status || got.ede != want.ede || !slices.Equal(got.answer, want.answer) {
		t.Errorf("%s: %s, extended error %q, %v; over UDP %s, %q, %v", what, got.status, got.ede, got.answer, want.status, want.ede, want.answer)
	}
	if len(want.answer) == 0 && !slices.Equal(got.authority, want.authority) {
		t.Errorf("%s: authority %v; over UDP %v", what, got.authority, want.authority)
	}
}

// quicToo asks over DoQ (RFC 9250), which kdig of Debian 12 does not speak.
func (d encryptedDoor) quicToo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, d.quic, &tls.Config{RootCAs: d.pool, ServerName: doorName, NextProtos: []string{"doq"}, MinVersion: tls.VersionTLS13}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	for _, q := range doorQuestions {
		over := askQUIC(ctx, t, conn, q.name, dns.StringToType[q.kind])
		var client dns.Client
		client.Net = "tcp"
		plain, _, err := client.ExchangeContext(ctx, over.question, d.dns)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := unaged(over.reply), unaged(plain); got != want {
			t.Errorf("%s: over QUIC\n%s\nover TCP\n%s", q.what, got, want)
		}
	}
}

type exchange struct{ question, reply *dns.Msg }

func askQUIC(ctx context.Context, t *testing.T, conn *quic.Conn, name string, kind uint16) exchange {
	t.Helper()
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(name), kind).SetEdns0(1232, false)
	question.Id = 0 // RFC 9250 §4.2.1
	packed, err := question.Pack()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)); err != nil {
		t.Fatal(err)
	}
	stream.Close()
	data, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	reply := new(dns.Msg)
	if len(data) < 2 || int(binary.BigEndian.Uint16(data)) != len(data)-2 {
		t.Fatalf("%s: %d bytes on the stream", name, len(data))
	}
	if err := reply.Unpack(data[2:]); err != nil {
		t.Fatal(err)
	}
	return exchange{question, reply}
}

// unaged is a message as text without what may differ between two transports:
// TTLs and padding.
func unaged(m *dns.Msg) string {
	m = m.Copy()
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, record := range section {
			record.Header().Ttl = 0
		}
	}
	if opt := m.IsEdns0(); opt != nil {
		opt.Option = slices.DeleteFunc(opt.Option, func(o dns.EDNS0) bool {
			return o.Option() == dns.EDNS0PADDING || o.Option() == dns.EDNS0TCPKEEPALIVE
		})
	}
	m.Id = 0
	return m.String()
}

// truncated wants the truncated answer over UDP to be of use: within the size,
// and nothing but the sign to come back.
func (d encryptedDoor) truncated(t *testing.T) {
	for _, size := range []uint16{512, 1232, 4096} {
		question := new(dns.Msg)
		question.SetQuestion("huge.rockets.example.", dns.TypeTXT).SetEdns0(size, false)
		client := dns.Client{Net: "udp", UDPSize: 65535, Timeout: patience}
		reply, _, err := client.Exchange(question, d.dns)
		if err != nil {
			t.Fatal(err)
		}
		if n := reply.Len(); !reply.Truncated || n > int(min(size, 1232)) || len(reply.Answer) != 0 {
			t.Errorf("size %d: truncated %v, %d bytes, %d answers", size, reply.Truncated, n, len(reply.Answer))
		}
	}
}

func (d encryptedDoor) transportsCounted(t *testing.T) {
	for _, transport := range []string{"udp", "tcp", "tls", "https", "quic"} {
		label := `transport="` + transport + `"`
		eventually(t, "queries are counted for "+transport, func() error {
			return atLeast(d.metric(t, "sallyport_dns_queries_total", label), 1)
		})
		d.logged(t, "a refusal over "+transport, func(e entry) bool { return e.Door == "dns" && e.Transport == transport && e.Action == "block" })
	}
}

// TestBrowsersOverHTTPS lets curl and Chromium resolve through the DoH
// listener, and nothing else.
func TestBrowsersOverHTTPS(t *testing.T) {
	sallyport(t)
	need(t, "nginx")
	upstream, site := startUnbound(t), startNginx(t)
	d := startEncryptedDoor(t, upstream, "block: {answer: nxdomain}\n")
	template := "https://" + d.https + "/dns-query"
	open, shut := site.url("http", "www.rockets.example", "/"), site.url("http", "us04web.zoom.us", "/")

	t.Run("curl", func(t *testing.T) {
		curl := need(t, "curl")
		arguments := []string{"--silent", "--show-error", "--noproxy", "*", "--cacert", d.file, "--doh-url", template}
		allowed := run(t, t.TempDir(), curl, append(arguments, open)...)
		if allowed.code != 0 || !strings.Contains(allowed.stdout, "Launch calendar") {
			t.Errorf("the allowed site: exit status %d\n%s%s", allowed.code, allowed.stdout, allowed.stderr)
		}
		refused := run(t, t.TempDir(), curl, append(arguments, shut)...)
		if refused.code != 6 { // could not resolve
			t.Errorf("the refused site: exit status %d, want 6\n%s%s", refused.code, refused.stdout, refused.stderr)
		}
		d.logged(t, "curl's refusal", func(e entry) bool { return e.Transport == "https" && e.Host == "us04web.zoom.us" })
	})

	t.Run("Chromium", func(t *testing.T) {
		if page := d.browseDoH(t, template, open); !strings.Contains(page, "go for launch") {
			t.Errorf("the allowed page was not rendered:\n%s", lastLines(page, 30))
		}
		if page := d.browseDoH(t, template, shut); !strings.Contains(page, "ERR_NAME_NOT_RESOLVED") && !strings.Contains(page, "DNS_PROBE") {
			t.Errorf("Chromium does not tell that there is no such name:\n%s", lastLines(page, 30))
		}
	})
}

// browseDoH is Chromium with "secure DNS" set to the template, as an admin's
// policy sets it: it asks no other resolver.
func (d encryptedDoor) browseDoH(t *testing.T, template, url string) string {
	t.Helper()
	path := need(t, "chromium")
	profile := t.TempDir()
	state, err := json.Marshal(map[string]any{"dns_over_https": map[string]string{"mode": "secure", "templates": template + "{?dns}"}})
	if err != nil {
		t.Fatal(err)
	}
	user := filepath.Join(profile, "chromium")
	makeDir(t, user)
	writeFile(t, filepath.Join(user, "Local State"), state)
	r := run(t, profile, path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
		"--disable-extensions", "--no-proxy-server", "--user-data-dir="+user,
		"--ignore-certificate-errors-spki-list="+d.spki, "--dump-dom", url)
	return r.stdout + r.stderr
}
