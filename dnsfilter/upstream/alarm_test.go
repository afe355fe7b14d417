package upstream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// faulty is a transport with a mistake in it.
type faulty struct {
	stub
	mended bool
}

func (f *faulty) exchange(ctx context.Context, q Query, deadline time.Time) (*dns.Msg, error) {
	if !f.mended {
		f.asked.Add(1)
		panic("index out of range")
	}
	return f.stub.exchange(ctx, q, deadline)
}

// logged is a Pool whose log is seen; its servers have the transports, and are
// named a, b, c.
func logged(t *testing.T, s Strategy, transports ...transport) (*Pool, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	servers := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}[:len(transports)]
	p, err := New(Config{Servers: servers, Strategy: s}, Dependencies{Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range transports {
		p.resolvers[i].transport = transports[i]
	}
	return p, logs
}

const panicLogged = "asking an upstream resolver ended in a panic; please report it"

// A panic over an answer is an answer that cannot be read, wherever it happens:
// the next resolver is asked, and the log hears of it, but not each time.
func TestPanicIsAnAnswerThatCannotBeRead(t *testing.T) {
	ask := func(p *Pool) error {
		_, err := p.Ask(context.Background(), Query{Name: "\x01a\x00", Type: 1})
		synctest.Wait()
		return err
	}
	t.Run("alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, logs := logged(t, Failover, &faulty{})
			defer p.Close()
			for range 5 {
				var failure *Error
				if err := ask(p); !errors.As(err, &failure) || failure.Kind != Garbled {
					t.Fatalf("error %v", err)
				}
			}
			if n := logs.FilterMessage(panicLogged).Len(); n != 1 {
				t.Errorf("logged %d times at first", n)
			}
			time.Sleep(alarmPause)
			_ = ask(p)
			if n := logs.FilterMessage(panicLogged).Len(); n != 2 {
				t.Errorf("logged %d times in all", n)
			}
		})
	})
	t.Run("before another", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, _ := logged(t, Failover, &faulty{}, &stub{})
			defer p.Close()
			if err := ask(p); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("aside", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			first := &faulty{}
			p, _ := logged(t, Failover, first, &stub{})
			defer p.Close()
			_ = ask(p)
			time.Sleep(maxBackoff)
			if err := ask(p); err != nil || first.asked.Load() != 2 {
				t.Errorf("%v, asked %d times", err, first.asked.Load())
			}
		})
	})
	t.Run("in a race", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			second := &faulty{mended: true}
			second.takes = 20 * time.Millisecond
			p, _ := logged(t, Parallel, &stub{takes: 10 * time.Millisecond}, second)
			defer p.Close()
			for range 4 { // so that the first's time is known
				_ = ask(p)
			}
			second.mended = false
			p.resolvers[0].transport = &stub{takes: time.Second} // unusually long
			asked := second.asked.Load()
			if err := ask(p); err != nil || second.asked.Load() == asked {
				t.Errorf("%v, the second was asked %d times before and %d after", err, asked, second.asked.Load())
			}
		})
	})
}

// Whoever waits for what a goroutine would have done goes on when it panics.
func TestPanicsOfGoroutinesLetOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, logs := logged(t, Failover, &stub{})
		defer p.Close()
		for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
			b := newBootstrap(p.root, p)
			b.ask = func(_ context.Context, q Query) (Answer, error) {
				if q.Type == kind {
					panic("nil map")
				}
				return Answer{}, errNoAddress
			}
			var failure *Error
			_, err := b.lookUp(context.Background(), "dns.example")
			if !errors.As(err, &failure) || failure.Kind != Garbled {
				t.Errorf("type %d: error %v", kind, err)
			}
		}

		told := make(chan error, 1)
		if !p.crew.start(func() { panic("closed channel") }, func(err error) { told <- err }) {
			t.Fatal("not started")
		}
		if err := <-told; asError(err).Kind != Garbled {
			t.Errorf("told %v", err)
		}
		if logs.FilterMessage(panicLogged).Len() == 0 {
			t.Error("nothing was logged")
		}
	})
}

// Of a resolver that comes and goes the log hears each once in half a minute,
// and in the end the truth.
func TestLogOfAResolverThatComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &stub{}
		p, logs := logged(t, Failover, up)
		defer p.Close()
		try := func(err error) {
			t.Helper()
			up.err = err
			for range downAfter {
				_, _ = p.Ask(context.Background(), Query{Name: "\x01a\x00", Type: 1})
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		count := func(message string) int { return logs.FilterMessage(message).Len() }
		const down, well = "upstream resolver does not answer", "upstream resolver answers again"
		try(nil)
		if logs.Len() != 0 {
			t.Fatalf("logged %v of a resolver that is well", logs.All())
		}
		begun := time.Now()
		for time.Since(begun) < 2*newsPause-10*time.Second {
			try(unreachable(nil))
			try(nil)
		}
		if d, w := count(down), count(well); d != 2 || w != 2 {
			t.Errorf("in %v: down %d times, well %d times, want 2 each", time.Since(begun), d, w)
		}
		for range 2 * int(newsPause/time.Second) {
			try(unreachable(nil))
		}
		if d, w := count(down), count(well); d != 3 || w != 2 {
			t.Errorf("down for good: down %d times, well %d times", d, w)
		}
		try(nil)
		if count(well) != 3 {
			t.Error("it is well again, and the log has not heard of it")
		}
	})
}
