package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// errNobodyWaits is why a start that waits for lists is given up.
var errNobodyWaits = errors.New("the start was given up")

// prefetch fetches lists without which the gateway cannot start. It tries again
// what may pass by itself (at boot the network is often not there yet), and
// returns when every list is there or has failed, when nothing has come for a
// while, and when ctx ends. The problems are of the lists that are missing.
func (f *listFetcher) prefetch(ctx context.Context, sources []policy.ListSource) policy.Problems {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, f.limits.startWhole, errTooLong)
	defer stop()
	f.want(sources, sources)
	failed := make([]error, len(sources))
	var fetching, watching sync.WaitGroup
	for i, source := range sources {
		fetching.Go(func() { failed[i] = f.insist(ctx, source) })
	}
	over := make(chan struct{})
	watching.Go(func() { f.giveUp(over, cancel) })
	fetching.Wait()
	close(over)
	watching.Wait()
	var problems policy.Problems
	for i, source := range sources {
		if failed[i] != nil {
			problems.Errorf(source.Position, "list %q cannot be fetched from %s, and there is no copy of it: %s: a list that is not there must not be taken for an empty one; mend that, or take the list out of the policy",
				source.Name, shownURL(source.URL), failed[i])
		}
	}
	return problems
}

// insist fetches one list until it is there, or cannot be.
func (f *listFetcher) insist(ctx context.Context, source policy.ListSource) error {
	key := f.deps.store.key(source)
	wait := time.Second
	f.deps.log.Info("the start waits for a list", zap.String("list", source.Name), zap.String("url", shownURL(source.URL)))
	for failures := 0; ; failures++ {
		err := f.fetchInTurn(ctx, source, key, failures)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && !passes(err) {
			return err
		}
		if ctx.Err() == nil {
			f.deps.log.Warn("list not fetched: the start tries again", zap.String("list", source.Name), zap.Error(err), zap.Duration("again_in", wait))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			if state, _ := f.state(key); state.trouble != "" {
				return fmt.Errorf("%s (%w)", state.trouble, context.Cause(ctx))
			}
			return context.Cause(ctx)
		case <-timer.C:
		}
		wait = min(2*wait, f.limits.dial)
	}
}

// passes reports whether a failure may be over in a moment.
func passes(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		return status.code >= http.StatusInternalServerError || status.code == http.StatusTooManyRequests || status.code == http.StatusRequestTimeout
	}
	var certificate *tls.CertificateVerificationError
	return fetchResult(err) == fetchNetwork && !errors.As(err, &certificate)
}

// giveUp ends a start during which no byte has come for a while.
func (f *listFetcher) giveUp(over <-chan struct{}, cancel context.CancelCauseFunc) {
	quiet := time.NewTicker(f.limits.startQuiet)
	defer quiet.Stop()
	for moved := f.moved.Load(); ; {
		select {
		case <-over:
			return
		case <-quiet.C:
		}
		now := f.moved.Load()
		if now == moved {
			cancel(fmt.Errorf("nothing came for %v", f.limits.startQuiet))
			return
		}
		moved = now
	}
}
