package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// reportEvery is how often the log hears of a download or a reading that takes
// its time.
const reportEvery = 5 * time.Second

// listParser reads lists one at a time, whoever asks, so that the memory it
// takes is that of one list. Safe for concurrent use.
type listParser struct {
	log  *zap.Logger
	mu   sync.Mutex
	done atomic.Int64 // lists read so far
}

// parse is [policy.ParseList], with a word in the log.
func (p *listParser) parse(name string, data []byte) (*policy.List, policy.ListReport, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	begun := time.Now()
	stop := everySoOften(func() {
		p.log.Info("reading a list", zap.String("list", name), zap.Int("bytes", len(data)), zap.Duration("for", time.Since(begun)))
	})
	list, report, err := policy.ParseList(data)
	stop()
	p.done.Add(1)
	if err != nil {
		return nil, report, err
	}
	p.log.Info("list read", zap.String("list", name), zap.String("format", report.Format),
		zap.Int("entries", list.Len()), zap.Int("skipped", report.Skipped),
		zap.Int("bytes", len(data)), zap.Duration("took", time.Since(begun)))
	return list, report, nil
}

// everySoOften calls tell every few seconds until stop returns.
func everySoOften(tell func()) (stop func()) {
	over := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		ticker := time.NewTicker(reportEvery)
		defer ticker.Stop()
		for {
			select {
			case <-over:
				return
			case <-ticker.C:
				tell()
			}
		}
	})
	return func() {
		close(over)
		telling.Wait()
	}
}
