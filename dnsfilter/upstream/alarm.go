package upstream

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// alarm makes an ordinary failure of a panic: what a resolver sends is a
// stranger's, and whatever a mistake of ours makes of it must not end the
// process, nor fill its log. Safe for concurrent use.
type alarm struct {
	log  *zap.Logger
	now  func() time.Time
	last atomic.Int64 // when the log heard of one; Unix nanoseconds
}

// alarmPause is how long the log hears of no other panic.
const alarmPause = 30 * time.Second

// catch is deferred where a panic is to become *err.
func (a *alarm) catch(err *error) {
	if value := recover(); value != nil {
		*err = a.raise(value)
	}
}

func (a *alarm) raise(value any) error {
	now, last := a.now().UnixNano(), a.last.Load()
	if (last == 0 || now-last >= int64(alarmPause)) && a.last.CompareAndSwap(last, now) {
		a.log.Error("asking an upstream resolver ended in a panic; please report it",
			zap.String("panic", fmt.Sprint(value)), zap.ByteString("stack", debug.Stack()))
	}
	return garbled("an upstream resolver's answer could not be read", fmt.Errorf("panic: %v", value))
}
