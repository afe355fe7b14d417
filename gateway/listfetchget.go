package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// maxRedirects bounds the places that a list may be sent on to.
const maxRedirects = 5

// maxAnswerHead bounds the head of an answer.
const maxAnswerHead = 64 << 10

// listRequest is one question for a list.
type listRequest struct {
	source policy.ListSource
	known  *listRecord     // the copy that is there; nil: whatever comes is new
	into   io.Writer       // takes the list, unpacked
	most   int64           // bytes of it
	whole  func(int64)     // hears how many bytes will come, where the server says so
	moved  func(bytes int) // hears of bytes that came
}

// listAnswer is what came of it. Where it is unchanged nothing was written.
type listAnswer struct {
	unchanged bool
	size      int64
	digest    string
	etag      string // fit to be sent back
	modified  string // likewise
}

var (
	errStalled   = errors.New("nothing more came")
	errTooLong   = errors.New("it took too long")
	errDowngrade = errors.New("it was sent on from https to http, where anyone on the way could change it")
	errRedirects = errors.New("it was sent on too often")
)

// listClient asks servers for lists. Safe for concurrent use.
type listClient struct {
	client *http.Client
	agent  string
	limits listLimits
}

// listDial reaches a server.
type listDial func(ctx context.Context, network, address string) (net.Conn, error)

// newListClient makes a client that keeps no connection open: lists come once a
// day. roots may be nil for the system's.
func newListClient(dial listDial, roots *x509.CertPool, version string, limits listLimits) *listClient {
	return &listClient{
		agent:  "sallyport/" + strings.Map(visible, version),
		limits: limits,
		client: &http.Client{
			CheckRedirect: checkRedirect,
			Transport: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				DialContext:            dial,
				TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
				TLSHandshakeTimeout:    limits.dial,
				ResponseHeaderTimeout:  limits.header,
				MaxResponseHeaderBytes: maxAnswerHead,
				DisableKeepAlives:      true,
			},
		},
	}
}

// visible leaves of a version what may stand in a header.
func visible(r rune) rune {
	if r <= ' ' || r >= 0x7f {
		return '-'
	}
	return r
}

// checkRedirect lets a list be moved, but not out of the protection that its
// URL promises.
func checkRedirect(next *http.Request, before []*http.Request) error {
	next.Header.Del("Referer") // the URL that the policy names may hold a key
	if len(before) > maxRedirects {
		return errRedirects
	}
	if before[len(before)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return errDowngrade
	}
	return nil
}

// get asks for a list, unless it is the one that is known (RFC 9110 §13). It
// returns within the time limits, and when ctx ends. Errors are *fetchError.
func (c *listClient) get(ctx context.Context, r listRequest) (listAnswer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, c.limits.whole, errTooLong)
	defer stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.source.URL, nil)
	if err != nil {
		return listAnswer{}, fails(fetchNetwork, "its url cannot be asked for: %w", bare(err))
	}
	request.Header.Set("User-Agent", c.agent)
	if r.known != nil {
		setUnlessEmpty(request.Header, "If-None-Match", r.known.ETag)
		setUnlessEmpty(request.Header, "If-Modified-Since", r.known.LastModified)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return listAnswer{}, c.unreached(ctx, err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end, or given up
	if err := checkStatus(response, r.known != nil); err != nil {
		return listAnswer{}, err
	}
	if response.StatusCode == http.StatusNotModified {
		return listAnswer{unchanged: true}, nil
	}
	if response.ContentLength > r.most {
		return listAnswer{}, tooLarge(r.most)
	}
	r.whole(response.ContentLength)
	stalled := time.AfterFunc(c.limits.stall, func() { cancel(errStalled) })
	defer stalled.Stop()
	digest := sha256.New()
	size, err := c.copy(r, digest, response.Body, func() { stalled.Reset(c.limits.stall) })
	// A server that hears our side close may end its answer properly, before the
	// connection is gone: an end that comes after the time is over is none.
	if cause := context.Cause(ctx); cause != nil && (err == nil || fetchResult(err) == fetchNetwork) {
		err = fails(fetchNetwork, "it broke off after %d bytes: %w", size, cause)
	}
	if err != nil {
		return listAnswer{}, err
	}
	return listAnswer{
		size:     size,
		digest:   hex.EncodeToString(digest.Sum(nil)),
		etag:     validator(response.Header.Get("ETag")),
		modified: validator(response.Header.Get("Last-Modified")),
	}, nil
}

// copy brings the body to where it is wanted, and no more of it than may be:
// what was packed is counted as it comes out.
func (c *listClient) copy(r listRequest, digest hash.Hash, body io.Reader, alive func()) (size int64, err error) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			alive()
			r.moved(n)
			if size += int64(n); size > r.most {
				return size, tooLarge(r.most)
			}
			_, _ = digest.Write(buffer[:n]) // a hash never fails to write
			if _, err := r.into.Write(buffer[:n]); err != nil {
				return size, stateError(err)
			}
		}
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return size, fails(fetchNetwork, "it broke off after %d bytes: %w", size, err)
		}
	}
}

func tooLarge(most int64) error {
	return fails(fetchSize, "it has more than %d bytes: raise its \"max_size\" if that is right", most)
}

// checkStatus refuses every answer that is not the list, and an unchanged that
// nobody asked for.
func checkStatus(response *http.Response, conditional bool) error {
	switch response.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusNotModified:
		if conditional {
			return nil
		}
	}
	return &fetchError{
		result: fetchStatus,
		after:  retryAfter(response.Header.Get("Retry-After")),
		err:    &statusError{code: response.StatusCode},
	}
}

// statusError is an answer that is not the list.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code)))
}

// retryAfter is the time for which a server asks to be left alone, in seconds
// or as a date (RFC 9110 §10.2.3); 0 where it does not say.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// unreached is why there is no answer.
func (c *listClient) unreached(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errDowngrade), errors.Is(err, errRedirects):
		return fails(fetchStatus, "%w", bare(err))
	case context.Cause(ctx) != nil:
		return fails(fetchNetwork, "%w", context.Cause(ctx))
	default:
		return fails(fetchNetwork, "%w", bare(err))
	}
}

// bare is an error without the URL that net/http puts in front, which may hold
// a key.
func bare(err error) error {
	var about *url.Error
	if errors.As(err, &about) {
		return about.Err
	}
	return err
}

// shownURL is a URL for the eyes of whoever reads logs: keys to a feed are
// usually written in its query.
func shownURL(text string) string {
	if shown, _, found := strings.Cut(text, "?"); found {
		return shown + "?..."
	}
	return text
}

// validator is what a server said of the version of a list, if it is fit to be
// kept and sent back.
func validator(text string) string {
	if !isValidator(text) {
		return ""
	}
	return text
}

func setUnlessEmpty(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}
