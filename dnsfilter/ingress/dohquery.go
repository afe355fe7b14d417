package ingress

import (
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/sallyport/sallyport/dnsfilter/dnswire"
)

// messageType is the media type of a DNS message (RFC 8484 §6).
const messageType = "application/dns-message"

// readQuery reads the query of a request into x (RFC 8484 §4.1), and returns
// the status to refuse it with; 200 is to go on.
func (x *exchange) readQuery(r *http.Request) (status int) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		status = x.readParameter(r.URL.RawQuery)
	case http.MethodPost:
		status = x.readBody(r)
	default:
		return http.StatusMethodNotAllowed
	}
	if status != http.StatusOK {
		return status
	}
	if len(x.wire) < dnswire.HeaderBytes || x.wire[2]&(dnswire.FlagQR>>8) != 0 {
		return http.StatusBadRequest // no header, or a reply
	}
	return http.StatusOK
}

// readParameter reads the query that GET has in its URL: base64url without
// padding.
func (x *exchange) readParameter(rawQuery string) (status int) {
	text, ok := dnsParameter(rawQuery)
	if !ok {
		return http.StatusBadRequest
	}
	length := base64.RawURLEncoding.DecodedLen(len(text))
	if length > dnswire.MaxQueryBytes {
		return http.StatusRequestURITooLong
	}
	// A strict decoder takes one text for one query, and no line breaks.
	n, err := base64.RawURLEncoding.Strict().Decode(x.room(length), []byte(text))
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return http.StatusBadRequest
	}
	x.wire = x.wire[:n]
	return http.StatusOK
}

// dnsParameter is the parameter "dns", which must be there once.
func dnsParameter(rawQuery string) (text string, ok bool) {
	for rawQuery != "" {
		var pair string
		pair, rawQuery, _ = strings.Cut(rawQuery, "&")
		value, is := strings.CutPrefix(pair, "dns=")
		if !is {
			continue
		}
		if ok {
			return "", false
		}
		text, ok = value, true
	}
	if !ok || !strings.Contains(text, "%") {
		return text, ok
	}
	text, err := url.QueryUnescape(text)
	return text, err == nil
}

// readBody reads the query that POST has as its body.
func (x *exchange) readBody(r *http.Request) (status int) {
	if !isMessage(r.Header.Get("Content-Type")) {
		return http.StatusUnsupportedMediaType
	}
	if r.ContentLength > dnswire.MaxQueryBytes {
		return http.StatusRequestEntityTooLarge
	}
	room := x.room(dnswire.MaxQueryBytes)
	n, err := io.ReadFull(r.Body, room)
	if err == nil {
		var more [1]byte
		if _, err = io.ReadFull(r.Body, more[:]); err == nil {
			return http.StatusRequestEntityTooLarge
		}
	}
	x.wire = room[:n]
	switch {
	case err == io.EOF, err == io.ErrUnexpectedEOF && r.ContentLength < 0, int64(n) == r.ContentLength:
		return http.StatusOK
	case errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout
	default:
		return http.StatusBadRequest // cut short
	}
}

func isMessage(contentType string) bool {
	if contentType == messageType {
		return true
	}
	parsed, _, err := mime.ParseMediaType(contentType)
	return err == nil && parsed == messageType
}
