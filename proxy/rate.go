package proxy

import (
	"net/http"
	"time"

	"github.com/sallyport/sallyport/ratelimit"
)

// moderate lets on clients that do not ask too often. A refusal costs little,
// and the connection stays: opening another one would cost more.
func (x *exchange) moderate() bool {
	s := x.server
	if s.rate.Allow(x.client, int64(time.Since(s.began))) == ratelimit.Allow {
		return true
	}
	s.metrics.shed.WithLabelValues(shedRate).Inc()
	x.deny(answer{status: http.StatusTooManyRequests, text: "too many requests from your address; try again in a moment\n", retry: true}) // RFC 6585 §4
	return false
}
