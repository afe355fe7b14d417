package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// news decides what the log hears of a resolver's state. One that loses packets
// comes and goes many times a minute: of each the log hears once in newsPause,
// and whatever it hears last becomes true again with one of the next tries. Safe
// for concurrent use; the zero news has told that all is well.
type news struct {
	down atomic.Bool // what was told last

	mu   sync.Mutex
	told [2]time.Time // when, of up and of down
}

// newsPause is how long the log does not hear the same of a resolver again.
const newsPause = 30 * time.Second

// due reports whether to tell the state that a try has shown: then it counts as
// told.
func (n *news) due(down bool, now func() time.Time) bool {
	if n.down.Load() == down { // of nearly all tries
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	at := &n.told[0]
	if down {
		at = &n.told[1]
	}
	moment := now()
	if n.down.Load() == down || !at.IsZero() && moment.Sub(*at) < newsPause {
		return false
	}
	*at = moment
	n.down.Store(down)
	return true
}
