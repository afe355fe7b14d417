package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	floodNames    = 1_000_000
	floodCacheKB  = 16 << 10 // cache.size in this test
	floodMemoryKB = 80 << 10 // beside the cache: the program itself, and what the collector leaves
)

// TestRandomSubdomains asks for a million names that nobody has asked for
// before, from one client, while others go on asking for a name that is in the
// cache: each of them is answered, and the cache keeps within its size.
func TestRandomSubdomains(t *testing.T) {
	sallyport(t)
	upstream := startResolver(t, "*.many.rockets.example. A 127.0.0.1\n")
	g := startDoor(t, t.TempDir(), upstreamLine(upstream.port)+"cache: {size: 16MiB}\n")

	quiet := latency(t, g.dns, 2000)
	flood := startFlood(t, g.dns)
	beside := latency(t, g.dns, 5000)
	if flood.over() {
		t.Error("the flood was over before the others had asked: this proves nothing about them")
	}
	flood.wait(t)
	t.Logf("the others' answers: half within %v, 99 %% within %v; beside the flood %v, %v",
		quiet.half, quiet.most, beside.half, beside.most)
	t.Logf("flood: %d answered, %d not", flood.answered, flood.lost)

	if bytes := g.metric(t, "sallyport_dns_cache_bytes"); bytes > floodCacheKB<<10 || bytes < floodCacheKB<<9 {
		t.Errorf("%.0f bytes in the cache, want at most %d, and a cache that is in use", bytes, floodCacheKB<<10)
	}
	_, peak := memory(t, g.cmd.Process.Pid)
	eventually(t, "what the flood needed besides the cache is given back", func() error {
		resident, _ := memory(t, g.cmd.Process.Pid)
		if resident > floodCacheKB+floodMemoryKB {
			return fmt.Errorf("resident memory is %d KB, want at most %d", resident, floodCacheKB+floodMemoryKB)
		}
		return nil
	})
	resident, _ := memory(t, g.cmd.Process.Pid)
	t.Logf("resident memory %d MB, at most %d MB during the flood", resident>>10, peak>>10)
	if flood.answered < floodNames/2 {
		t.Errorf("%d of %d names were answered: the flood was none", flood.answered, floodNames)
	}
	if err := g.answered("www.rockets.example."); err != nil {
		t.Error(err)
	}
}

type latencies struct{ half, most time.Duration }

// latency asks for a cached name again and again, from a socket of its own, and
// wants each query answered.
func latency(t *testing.T, server string, queries int) latencies {
	t.Helper()
	conn, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	took := make([]time.Duration, queries)
	for i := range took {
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := askOn(conn, uint16(i), "www.rockets.example.", dnsmessage.TypeA); err != nil {
			t.Fatalf("query %d was lost: %v", i, err)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return latencies{took[len(took)/2], took[len(took)*99/100]}
}

// flood asks for names that are all different, with a number of them under way
// at a time.
type flood struct {
	ended          chan struct{}
	err            error
	answered, lost int // once ended
}

func startFlood(t *testing.T, server string) *flood {
	t.Helper()
	conn, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	f := &flood{ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		defer conn.Close()
		f.err = f.run(conn)
	}()
	return f
}

func (f *flood) over() bool {
	select {
	case <-f.ended:
		return true
	default:
		return false
	}
}

func (f *flood) wait(t *testing.T) {
	t.Helper()
	select {
	case <-f.ended:
	case <-time.After(4 * time.Minute):
		t.Fatal("the flood does not end")
	}
	if f.err != nil {
		t.Error(f.err)
	}
}

// run keeps a window of queries under way. What is not answered is given up
// when nothing has come for a second.
func (f *flood) run(conn net.Conn) error {
	const window = 256
	buffer := make([]byte, 4096)
	sent, underWay := 0, 0
	for f.answered+f.lost < floodNames {
		for ; underWay < window && sent < floodNames; underWay++ {
			query, err := randomQuery(sent)
			if err != nil {
				return err
			}
			if _, err := conn.Write(query); err != nil {
				return err
			}
			sent++
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		_, err := conn.Read(buffer)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			f.lost += underWay
			underWay = 0
		case err != nil:
			return err
		case underWay > 0:
			f.answered++
			underWay--
		}
	}
	return nil
}

// randomQuery is a query for a name that looks random, and is another for each
// number: the name's label is scrambled, not counted up.
func randomQuery(number int) ([]byte, error) {
	scrambled := uint64(number)*0x9e3779b97f4a7c15 | 1
	name, err := dnsmessage.NewName(fmt.Sprintf("%016x%x.many.rockets.example.", scrambled, number))
	if err != nil {
		return nil, err
	}
	builder := dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{ID: uint16(number), RecursionDesired: true})
	if err := builder.StartQuestions(); err != nil {
		return nil, err
	}
	if err := builder.Question(dnsmessage.Question{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}); err != nil {
		return nil, err
	}
	return builder.Finish()
}
