package console

import (
	"net"
	"net/http"
	"strconv"

	"github.com/sallyport/sallyport/policy"
)

// pacType is the media type of a proxy auto-configuration file.
const pacType = "application/x-ns-proxy-autoconfig"

// pac answers /proxy.pac and /wpad.dat.
func (p *portal) pac(w http.ResponseWriter, r *http.Request) {
	proxy, err := p.proxyAddress(r)
	if err != nil {
		writeText(w, http.StatusNotFound, err.Error()+"\n")
		return
	}
	w.Header().Set("Content-Type", pacType)
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write([]byte(autoConfiguration(proxy))) // the client has gone: nobody to tell
}

// proxyAddress is host:port of the proxy as this client can reach it.
func (p *portal) proxyAddress(r *http.Request) (string, error) {
	name, port := p.facts.Proxy()
	if port == 0 {
		return "", errNoProxy
	}
	if name == "" {
		name = hostOnly(r.Host)
	}
	// The name goes into a script: only what parses as a host may.
	host, err := policy.ParseHost(name)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host.String(), strconv.Itoa(int(port))), nil
}

// autoConfiguration is the script that sends a browser through the proxy. What
// is on the organisation's own network goes direct: the proxy would refuse
// private destinations anyway. No name is looked up, because a browser stops
// until the look-up returns, and there is no way round the proxy in it: were
// DIRECT the fallback, a proxy out of service would lift the policy.
func autoConfiguration(proxy string) string {
	return `// Written by sallyport. Do not edit: fetch it again.
function FindProxyForURL(url, host) {
  host = host.toLowerCase();
  if (isPlainHostName(host) || host === "localhost" || shExpMatch(host, "*.localhost")) {
    return "DIRECT";
  }
  if (isPrivateAddress(host)) {
    return "DIRECT";
  }
  return "PROXY ` + proxy + `";
}

function isPrivateAddress(host) {
  if (/^\[?(::1|fe[89ab][0-9a-f]:.*|f[cd][0-9a-f]{2}:.*)\]?$/.test(host)) {
    return true;
  }
  var p = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(host);
  if (p === null) {
    return false;
  }
  var a = +p[1], b = +p[2];
  return a === 10 || a === 127 || (a === 172 && b >= 16 && b <= 31) ||
    (a === 192 && b === 168) || (a === 169 && b === 254);
}
`
}
