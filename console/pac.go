package console

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/policy"
)

// pacType is the media type of a proxy auto-configuration file. It is none that
// a browser runs as a script of a page: pages of strangers cannot read the
// names in it.
const pacType = "application/x-ns-proxy-autoconfig"

// AutoConfiguration is a proxy auto-configuration file.
type AutoConfiguration struct {
	Parts [][]byte // one behind the other; they are not changed
	ETag  string   // as the header has it, quotes included
}

// pac answers /proxy.pac and /wpad.dat. The file is for one client, so nothing
// between may keep it for others.
func (p *portal) pac(w http.ResponseWriter, r *http.Request) {
	reached, err := policy.ParseHost(hostOnly(r.Host))
	if err != nil {
		writeText(w, http.StatusBadRequest, "the Host header names no host\n")
		return
	}
	file, err := p.facts.AutoConfiguration(clientOf(r), reached)
	if err != nil {
		writeText(w, http.StatusNotFound, err.Error()+"\n")
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "private, max-age=300")
	h.Set("ETag", file.ETag)
	if hasTag(r.Header.Values("If-None-Match"), file.ETag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	size := 0
	for _, part := range file.Parts {
		size += len(part)
	}
	h.Set("Content-Type", pacType)
	h.Set("Content-Length", strconv.Itoa(size))
	for _, part := range file.Parts {
		_, _ = w.Write(part) // the client has gone: nobody to tell
	}
}

// hasTag reports whether If-None-Match names an entity tag, compared weakly
// (RFC 9110 §13.1.2). Ours have no comma in them.
func hasTag(values []string, tag string) bool {
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			one = strings.TrimSpace(one)
			if one == "*" || strings.TrimPrefix(one, "W/") == tag {
				return true
			}
		}
	}
	return false
}
