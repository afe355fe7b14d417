package authority

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"time"
)

// expiresSoon is how long before its end an authority is warned of: its
// successor has to reach every computer before that.
const expiresSoon = 60 * 24 * time.Hour

// Warnings is what an administrator should know of an authority, one sentence
// each, in lower case.
func Warnings(c *x509.Certificate, now time.Time) []string {
	var all []string
	warn := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	switch day := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }; {
	case now.Before(c.NotBefore):
		warn("it is not valid before %s: no page is shown over HTTPS until then", day(c.NotBefore))
	case now.After(c.NotAfter):
		warn("it has expired on %s: no page is shown over HTTPS; make another with sallyport ca init, and have computers trust it", day(c.NotAfter))
	case now.Add(expiresSoon).After(c.NotAfter):
		warn("it expires on %s: make its successor with sallyport ca init, and have computers trust it before that", day(c.NotAfter))
	}
	if err := maySign(c); err != nil {
		return append(all, err.Error())
	}
	if len(c.PermittedDNSDomains) == 0 {
		warn("it has no name constraints: whoever gets its key can pass for every site towards the computers that trust it")
	}
	if k, ok := c.PublicKey.(*rsa.PublicKey); ok {
		warn("its key is RSA with %d bits: a page for a new name costs ten times the work of one with ECDSA P-256", k.N.BitLen())
	}
	return all
}
