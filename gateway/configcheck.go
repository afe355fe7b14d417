package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/sallyport/sallyport/dnsfilter/cookie"
	"github.com/sallyport/sallyport/dnsfilter/localdata"
	"github.com/sallyport/sallyport/identity"
	"github.com/sallyport/sallyport/secretmode"
)

// expiresSoon is how long before its end a certificate is warned of: most
// authorities' tools renew earlier.
const expiresSoon = 14 * 24 * time.Hour

// maxPEM bounds a file of certificates or a key.
const maxPEM = 4 << 20

// checkFiles looks at the files that the doors will open, so that check
// finds what serve would stumble over.
func (f *configFile) checkFiles(now time.Time) {
	d := &f.config.DNS
	f.checkEndpoint("dns.tls", &d.TLS, now)
	f.checkEndpoint("dns.https", &d.HTTPS, now)
	f.checkEndpoint("dns.quic", &d.QUIC, now)
	f.checkEndpoint("proxy.tls", &f.config.Proxy.TLS, now)
	f.checkInterception(now)
	f.checkCoaching()
	f.checkPseudonyms()
	f.checkLogs()
	if d.DeviceKey != "" {
		_, err := identity.LoadDeviceKeys(d.DeviceKey)
		f.fileTrouble("dns.https.device_key", d.DeviceKey, "make one with sallyport device key --out "+d.DeviceKey, err)
	}
	if d.CookieSecret != "" {
		_, err := cookie.ReadSecrets(d.CookieSecret)
		f.fileTrouble("dns.cookies.secret", d.CookieSecret, "make one with openssl rand -hex 16, and chmod 600", err)
	}
	if d.UpstreamCA != "" {
		_, err := readAuthorities(d.UpstreamCA)
		f.fileTrouble("dns.upstream_ca", d.UpstreamCA, "write the authorities there in PEM form, or leave dns.upstream_ca empty for the system's", err)
	}
	for i, path := range d.Hosts {
		_, err := localdata.New(localdata.Config{Hosts: []string{path}})
		f.at["dns.hosts"] = f.hostsAt[i]
		f.fileTrouble("dns.hosts", path, "make it, or take it out of the list", err)
	}
}

// checkEndpoint looks at the files of an encrypted listener.
func (f *configFile) checkEndpoint(noun string, e *EndpointConfig, now time.Time) {
	if e.ClientCA != "" {
		f.checkAuthorities(noun+".client_ca", e.ClientCA, now)
	}
	if e.Certificate == "" || e.Key == "" {
		return // which was said already, where it is a mistake
	}
	certificate, err := readPEM(e.Certificate)
	if err != nil {
		f.fileTrouble(noun+".certificate", e.Certificate, "write the file's path, relative to this one", err)
		return
	}
	key, err := readPrivate(e.Key)
	if err != nil {
		f.fileTrouble(noun+".key", e.Key, "write the file's path, relative to this one", err)
		return
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		f.problems.Errorf(f.at[noun+".certificate"], "%s.certificate %q and %s.key %q cannot be used together: %s", noun, e.Certificate, noun, e.Key, err)
		return
	}
	f.checkLeaf(noun+".certificate", e.Certificate, pair.Leaf, now)
	if e != &f.config.Proxy.TLS {
		f.checkDesignated(noun+".certificate", e.Certificate, pair.Leaf)
	}
}

// checkLeaf warns of a certificate that clients will not take.
func (f *configFile) checkLeaf(setting, path string, leaf *x509.Certificate, now time.Time) {
	warn := func(format string, args ...any) {
		f.problems.Warnf(f.at[setting], "certificate %q %s", path, fmt.Sprintf(format, args...))
	}
	switch {
	case now.Before(leaf.NotBefore):
		warn("is not valid before %s: clients refuse it until then", leaf.NotBefore.UTC().Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		warn("has expired on %s: clients refuse it; renew it, and the new one is taken without a restart", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Add(expiresSoon).After(leaf.NotAfter):
		warn("expires on %s: renew it, and the new one is taken without a restart", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
}

// checkDesignated warns of a certificate of the DNS door that clients will not
// take which look for encrypted listeners.
func (f *configFile) checkDesignated(setting, path string, leaf *x509.Certificate) {
	warn := func(format string, args ...any) {
		f.problems.Warnf(f.at[setting], "certificate %q %s", path, fmt.Sprintf(format, args...))
	}
	designated := f.config.DNS.Designated
	if designated.Name != "" && leaf.VerifyHostname(designated.Name) != nil {
		warn("is not for %q, the name in dns.designated: clients that are led there refuse it", designated.Name)
	}
	for _, addr := range designated.Addrs {
		if leaf.VerifyHostname(addr.String()) != nil {
			warn("does not hold the address %s of dns.designated: clients that look for encrypted listeners want it there (RFC 9462 section 4.2)", addr)
		}
	}
}

// fileTrouble reports a file that cannot be used, and what to do.
func (f *configFile) fileTrouble(setting, path, remedy string, err error) {
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
		f.problems.Errorf(f.at[setting], "%s: there is no file %q: %s", setting, path, remedy)
	case errors.Is(err, fs.ErrPermission):
		f.problems.Errorf(f.at[setting], "%s: %q cannot be read: let the user that the gateway runs as own it", setting, path)
	default:
		for _, one := range each(err) {
			f.problems.Errorf(f.at[setting], "%s: %s", setting, one)
		}
	}
}

// readPEM reads a file of certificates or a key.
func readPEM(path string) ([]byte, error) {
	data, _, err := readBounded(path, maxPEM)
	return data, err
}

// readPrivate is readPEM for a file that is its owner's alone.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !secretmode.Private(info) {
		return nil, fmt.Errorf("%q has mode %#o, which lets others than its owner at the key: run chmod 600 %s", path, info.Mode().Perm(), path)
	}
	return readPEM(path)
}

// readAuthorities reads a PEM file of certificates to verify others with.
func readAuthorities(path string) (*x509.CertPool, error) {
	data, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%q holds no certificate: write them in PEM form", path)
	}
	return pool, nil
}
