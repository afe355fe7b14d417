package e2e

import (
	"net"
	"strconv"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// town is a company's network in small: a resolver, an origin, the gateway
// between, and the clients' side of it.
type town struct {
	*gateway
	upstream int // unbound's port
	origin   *origin
}

// TestRealClients puts the gateway between real clients and real servers.
func TestRealClients(t *testing.T) {
	for _, server := range []string{"unbound", "nginx"} {
		need(t, server)
	}
	sallyport(t) // built before anything is started
	upstream, site := startUnbound(t), startNginx(t)
	memo := town{gateway: startGateway(t, setting{Upstream: upstream}, readFile(t, "testdata/policy.yaml")), upstream: upstream, origin: site}

	t.Run("DigRefused", memo.digRefused)
	t.Run("DigDisguised", memo.digDisguised)
	t.Run("DigModes", memo.digModes)
	t.Run("DigAllowed", memo.digAllowed)
	t.Run("DigOtherGroup", memo.digOtherGroup)
	t.Run("DigCanary", memo.digCanary)
	t.Run("Kdig", memo.kdig)
	t.Run("CurlRefusedHTTPS", memo.curlRefusedHTTPS)
	t.Run("CurlRefusedHTTP", memo.curlRefusedHTTP)
	t.Run("CurlRefusedUpload", memo.curlRefusedUpload)
	t.Run("CurlDisguised", memo.curlDisguised)
	t.Run("CurlAddresses", memo.curlAddresses)
	t.Run("CurlInnocent", memo.curlInnocent)
	t.Run("CurlSame", memo.curlSame)
	t.Run("CurlPrivate", memo.curlPrivate)
	t.Run("EarlyData", memo.earlyData)
	t.Run("Git", memo.git)
	t.Run("Chromium", memo.chromium)
	t.Run("Portal", memo.portalPage)
	t.Run("Parity", memo.parity)
	t.Run("Counted", memo.counted)

	t.Run("SignedIn", func(t *testing.T) {
		users := t.TempDir() + "/users.htpasswd"
		writeFile(t, users, []byte(htpasswd(t, "priya@corp.example", "orbit")+htpasswd(t, "alex@corp.example", "apogee")))
		asked := town{
			gateway:  startGateway(t, setting{Upstream: upstream, Users: users, Remember: "1h"}, readFile(t, "testdata/policy.yaml")),
			upstream: upstream, origin: site,
		}
		asked.curlSignedIn(t)
	})
}

// htpasswd is one line of the file, as `htpasswd -B` writes it.
func htpasswd(t *testing.T, user, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return user + ":" + string(hash) + "\n"
}

func split(t *testing.T, addr string) (host string, port int) {
	t.Helper()
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err = strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}
