package authority

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

func mustHost(t testing.TB, text string) policy.Host {
	t.Helper()
	host, err := policy.ParseHost(text)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

func leafOf(t testing.TB, a *Authority, name string) *x509.Certificate {
	t.Helper()
	c, err := a.Leaf(name)
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, c)
}

func parsed(t testing.TB, c *tls.Certificate) *x509.Certificate {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// verifies signs a leaf for name whether it is covered or not, and has it
// verified as a client would that trusts the authority.
func verifies(t testing.TB, a *Authority, name string) error {
	t.Helper()
	i := a.current.Load()
	l, err := i.sign(mustHost(t, name), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := parsed(t, l.certificate)
	between := x509.NewCertPool()
	for _, der := range l.certificate.Certificate[1:] {
		other, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		between.AddCert(other)
	}
	_, err = c.Verify(x509.VerifyOptions{
		DNSName:       name,
		Roots:         trusting(a),
		Intermediates: between,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

func TestLeaf(t *testing.T) {
	a, registry := loaded(t, "zoom.us")
	c := leafOf(t, a, "US04web.Zoom.us.")
	if fmt.Sprint(c.DNSNames) != "[us04web.zoom.us]" || len(c.IPAddresses) != 0 || c.IsCA || !c.BasicConstraintsValid {
		t.Errorf("names %v, addresses %v, authority %v", c.DNSNames, c.IPAddresses, c.IsCA)
	}
	if c.KeyUsage != x509.KeyUsageDigitalSignature || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
		t.Errorf("usage %b, %v", c.KeyUsage, c.ExtKeyUsage)
	}
	if bits := c.SerialNumber.BitLen(); bits < 64 || c.SerialNumber.Sign() <= 0 {
		t.Errorf("a serial of %d bits", bits)
	}
	now := time.Now()
	if age := now.Sub(c.NotBefore); age < 59*time.Minute || age > 61*time.Minute {
		t.Errorf("it began %v ago", age)
	}
	if life := c.NotAfter.Sub(now); life > leafLife || life < leafLife-time.Minute {
		t.Errorf("it ends in %v", life)
	}
	if err := c.CheckSignatureFrom(a.Certificate()); err != nil {
		t.Error(err)
	}

	other := leafOf(t, a, "zoom.us")
	if !c.PublicKey.(*ecdsa.PublicKey).Equal(other.PublicKey) || other.SerialNumber.Cmp(c.SerialNumber) == 0 {
		t.Error("leaves must share a key, and no serial")
	}
	if again := leafOf(t, a, "us04web.zoom.us"); !again.Equal(c) {
		t.Error("a leaf that is kept was signed again")
	}
	if got := metric(t, registry, "sallyport_proxy_interception_leaves_signed_total"); got != 2 {
		t.Errorf("%v signatures for two names", got)
	}
}

func TestLeafRefused(t *testing.T) {
	a, registry := loaded(t, "zoom.us")
	for _, name := range []string{"", "zoom.com", "*.zoom.us", "a b.zoom.us", "zoom.us\x00.example", "192.0.2.7", "[::1]", `a\046b.zoom.us`, "..zoom.us"} {
		if _, err := a.Leaf(name); !errors.Is(err, ErrNotCovered) {
			t.Errorf("%q: error %v", name, err)
		}
		if a.Covers(name) {
			t.Errorf("%q is covered", name)
		}
	}
	if got := metric(t, registry, "sallyport_proxy_interception_leaves_signed_total"); got != 0 {
		t.Errorf("%v signatures", got)
	}
}

func TestLeafForAddress(t *testing.T) {
	a, _ := loaded(t, "zoom.us", "192.0.2.0/24", "2001:db8::/32")
	for _, text := range []string{"192.0.2.7", "2001:db8::7"} {
		if c := leafOf(t, a, text); len(c.IPAddresses) != 1 || c.IPAddresses[0].String() != text || len(c.DNSNames) != 0 {
			t.Errorf("%s: addresses %v, names %v", text, c.IPAddresses, c.DNSNames)
		}
	}
}

// TestLeafAndTime follows leaves and their authority through the years.
func TestLeafAndTime(t *testing.T) {
	a, _ := loaded(t, "zoom.us")
	now := time.Now()
	a.now, a.every = func() time.Time { return now }, time.Hour*24*365*10
	first := leafOf(t, a, "zoom.us")
	now = now.Add(leafLife - leafRest - time.Minute)
	if c := leafOf(t, a, "zoom.us"); !c.Equal(first) {
		t.Error("signed again before its time")
	}
	now = now.Add(2 * time.Minute)
	second := leafOf(t, a, "zoom.us")
	if second.Equal(first) || !second.NotAfter.After(first.NotAfter) {
		t.Error("not signed again although it soon ends")
	}

	end := a.NotAfter()
	now = end.Add(-time.Hour)
	last := leafOf(t, a, "zoom.us")
	if !last.NotAfter.Equal(end) {
		t.Errorf("a leaf ends at %v, its authority at %v", last.NotAfter, end)
	}
	if c := leafOf(t, a, "zoom.us"); !c.Equal(last) {
		t.Error("the last leaf is not kept")
	}
	now = end.Add(time.Second)
	if _, err := a.Leaf("zoom.us"); !errors.Is(err, ErrNotCovered) || a.Covers("zoom.us") {
		t.Errorf("an expired authority signs: %v", err)
	}
	now = a.Certificate().NotBefore.Add(time.Minute)
	if c := leafOf(t, a, "www.zoom.us"); c.NotBefore.Before(a.Certificate().NotBefore) {
		t.Error("a leaf is older than its authority")
	}
}

// TestOneFlight has many ask for one name, and for one each.
func TestOneFlight(t *testing.T) {
	s := newShelf(8, bucket{rate: 1, burst: 100})
	host := mustHost(t, "zoom.us")
	var signatures atomic.Int64
	begun, release := make(chan struct{}), make(chan struct{})
	sign := func() (*leaf, error) {
		if signatures.Add(1) == 1 {
			close(begun)
		}
		<-release
		return &leaf{certificate: &tls.Certificate{}, until: time.Now().Add(time.Hour)}, nil
	}
	results := make(chan *tls.Certificate, 64)
	var all sync.WaitGroup
	ask := func() {
		c, err := s.get(host, time.Now(), sign)
		if err != nil {
			t.Error(err)
		}
		results <- c
	}
	all.Go(ask)
	<-begun
	for range 63 {
		all.Go(ask)
	}
	close(release)
	all.Wait()
	close(results)
	first := <-results
	for c := range results {
		if c != first {
			t.Fatal("not everybody got the same leaf")
		}
	}
	if n := signatures.Load(); n != 1 {
		t.Errorf("%d signatures", n)
	}
}

// TestFailedFlight does not remember a failure.
func TestFailedFlight(t *testing.T) {
	s := newShelf(8, bucket{rate: 1, burst: 100})
	host, failure := mustHost(t, "zoom.us"), errors.New("no entropy")
	if _, err := s.get(host, time.Now(), func() (*leaf, error) { return nil, failure }); !errors.Is(err, failure) {
		t.Fatal(err)
	}
	want := &leaf{certificate: &tls.Certificate{}, until: time.Now().Add(time.Hour)}
	if c, err := s.get(host, time.Now(), func() (*leaf, error) { return want, nil }); err != nil || c != want.certificate {
		t.Errorf("%v, %v", c, err)
	}
}

// TestShelfBound fills the shelf from all sides at once.
func TestShelfBound(t *testing.T) {
	const limit = 16
	s := newShelf(limit, bucket{rate: 1, burst: 1e9})
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 500 {
				host := policy.HostFromCanonicalName(fmt.Sprintf("n%d.zoom.us", random.IntN(100)))
				_, err := s.get(host, time.Now(), func() (*leaf, error) {
					return &leaf{certificate: &tls.Certificate{}, until: time.Now().Add(time.Hour)}, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := s.size(); n != limit || len(s.leaves) != limit || len(s.flights) != 0 {
		t.Errorf("%d leaves in order, %d on the shelf, %d flights", n, len(s.leaves), len(s.flights))
	}
}

// TestShelfKeepsWhatIsUsed drops the leaf that was not asked for.
func TestShelfKeepsWhatIsUsed(t *testing.T) {
	s := newShelf(2, bucket{rate: 1, burst: 100})
	signed := map[string]int{}
	get := func(name string) {
		t.Helper()
		_, err := s.get(mustHost(t, name), time.Now(), func() (*leaf, error) {
			signed[name]++
			return &leaf{certificate: &tls.Certificate{}, until: time.Now().Add(time.Hour)}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a.us", "b.us", "a.us", "c.us", "a.us", "b.us"} {
		get(name)
	}
	if signed["a.us"] != 1 || signed["b.us"] != 2 || signed["c.us"] != 1 {
		t.Errorf("signed %v", signed)
	}
}

// TestMadeUpNames asks for more new names than may be signed. What is kept is
// given all the same.
func TestMadeUpNames(t *testing.T) {
	a, registry := loaded(t, "zoom.us")
	now := time.Now()
	a.now = func() time.Time { return now }
	leafOf(t, a, "zoom.us")
	busy := 0
	for n := range 2 * leavesAtOnce {
		_, err := a.Leaf(fmt.Sprintf("x%d.zoom.us", n))
		switch {
		case errors.Is(err, ErrBusy):
			busy++
		case err != nil:
			t.Fatal(err)
		}
	}
	if busy != leavesAtOnce+1 {
		t.Errorf("%d names were turned away, want %d", busy, leavesAtOnce+1)
	}
	if got := metric(t, registry, "sallyport_proxy_interception_leaves_signed_total"); got != leavesAtOnce {
		t.Errorf("%v signatures", got)
	}
	leafOf(t, a, "zoom.us")
	now = now.Add(time.Second)
	for n := range leavesPerSecond {
		leafOf(t, a, fmt.Sprintf("y%d.zoom.us", n))
	}
	if _, err := a.Leaf("z.zoom.us"); !errors.Is(err, ErrBusy) {
		t.Errorf("a second of silence fills more than its share: %v", err)
	}
	now = now.Add(-time.Hour)
	if _, err := a.Leaf("z.zoom.us"); !errors.Is(err, ErrBusy) {
		t.Errorf("a clock that goes back fills the bucket: %v", err)
	}
}
