package proxy

import (
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// Who asks too often is told so, each way of asking counts, and others are not
// touched.
func TestRequestRate(t *testing.T) {
	d := open(t, func(c *Config, _ *Dependencies) {
		c.Rate = 1
		c.RateExempt = []netip.Prefix{netip.MustParsePrefix("127.0.0.3/32")}
	})
	raws := []string{connectTo("zoom.us:443"), getting("http://zoom.us/")}
	const asked = 20
	began, served := time.Now(), 0
	c := d.client()
	for i := range asked {
		c.send(raws[i%2]) // all on one connection
		response, _ := c.answer(requestMethod(raws[i%2]))
		switch {
		case response.StatusCode == http.StatusForbidden:
			served++
		case response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") == "" || response.Close:
			t.Errorf("%s %v", response.Status, response.Header)
		}
	}
	if most := 2 + int(time.Since(began)/time.Second); served < 2 || served > most {
		t.Errorf("%d were served, want 2 to %d", served, most)
	}
	if shed := d.metric("sallyport_proxy_shed_total", shedRate); shed != float64(asked-served) {
		t.Errorf("%v counted, and %d served", shed, served)
	}
	for _, address := range []string{"127.0.0.2", "127.0.0.3"} {
		for i := range raws {
			other := d.clientFrom(address)
			other.send(raws[i])
			if response, _ := other.answer(requestMethod(raws[i])); response.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %s", address, response.Status)
			}
		}
	}
	exempt := d.clientFrom("127.0.0.3")
	exempt.send(raws[0])
	if response, _ := exempt.answer(http.MethodConnect); response.StatusCode != http.StatusForbidden {
		t.Errorf("exempt: %s", response.Status)
	}
}
