package outbound

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Config is what an admin decides about connections. Its zero value goes
// straight to every destination.
type Config struct {
	// Timeout bounds one Dial, all attempts and answers of parents included.
	// 0: 10 s.
	Timeout time.Duration

	// HeadStart is how long one address is tried before the next one is tried
	// beside it (RFC 8305 §5: the Connection Attempt Delay). 0: 250 ms.
	HeadStart time.Duration
}

// Dependencies is what a Dialer needs of the rest of the gateway. Every func
// must be safe for concurrent use.
type Dependencies struct {
	// Dialled is told once of every Dial how it ended, in the words of Result,
	// and how long it took. Nil: nobody is.
	Dialled func(result string, took time.Duration)

	// Registerer takes the metrics; nil: they are counted and shown nowhere.
	Registerer prometheus.Registerer

	// Log takes what an admin should know. Nil: nothing is logged.
	Log *zap.Logger
}

// Defaults of Config.
const (
	defaultTimeout   = 10 * time.Second
	defaultHeadStart = 250 * time.Millisecond
)

// complete checks c and fills in the defaults.
func (c Config) complete() (Config, error) {
	if c.Timeout < 0 || c.HeadStart < 0 {
		return c, errors.New("outbound: a negative time: use a positive one, or 0 for the default")
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.HeadStart == 0 {
		c.HeadStart = defaultHeadStart
	}
	return c, nil
}

// complete fills in what may be left out.
func (d Dependencies) complete() Dependencies {
	if d.Dialled == nil {
		d.Dialled = func(string, time.Duration) {}
	}
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	return d
}
