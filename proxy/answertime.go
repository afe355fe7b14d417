package proxy

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// answerKind is what became of a request: a value of the outcome label of
// sallyport_proxy_answer_duration_seconds.
type answerKind uint8

const (
	answerBlocked     answerKind = iota // by the policy
	answerRefused                       // cannot be served as it came
	answerAllowed                       // the tunnel is open
	answerForwarded                     // the origin has answered a plain request, in its own time
	answerUnreachable                   // what was allowed did not come about, for a reason on the other side
	answerError                         // or for one on ours
	answerKinds
)

func (k answerKind) String() string {
	return [answerKinds]string{"blocked", "refused", "allowed", "forwarded", "unreachable", "error"}[k]
}

// kind sorts an answer of ours.
func (a answer) kind() answerKind {
	switch {
	case a.decision != nil:
		return answerBlocked
	case a.elsewhere:
		return answerUnreachable
	case a.status >= http.StatusInternalServerError:
		return answerError
	default:
		return answerRefused
	}
}

// answerTimes is how long requests wait for their answers to begin. Each series
// is looked up once, here.
type answerTimes struct {
	vec  *prometheus.HistogramVec
	kind [answerKinds]prometheus.Observer
}

func newAnswerTimes() *answerTimes {
	t := &answerTimes{vec: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "sallyport_proxy_answer_duration_seconds",
		Help:    "From a request read to its answer begun, by outcome: blocked, refused, allowed, forwarded, unreachable or error.",
		Buckets: []float64{.00005, .0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
	}, []string{"outcome"})}
	for k := range answerKinds {
		t.kind[k] = t.vec.WithLabelValues(k.String())
	}
	return t
}

// observe notes an answer to the exchange that begins now. A client that has
// left gets none.
func (x *exchange) observe(kind answerKind, status int) {
	if status == statusClientGone {
		return
	}
	x.server.metrics.answers.kind[kind].Observe(time.Since(x.began).Seconds())
}
