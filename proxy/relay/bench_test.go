package relay

import (
	"io"
	"net"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// counter is a Handler that does as much as it must.
type counter struct {
	moved [2]int64
	ended chan struct{}
}

func (c *counter) Greet(piece []byte, _ Occasion) Greeting {
	return Greeting{Then: Carry, Forward: piece}
}

func (c *counter) Moved(up bool, n int64) {
	if up {
		c.moved[Client] += n
	} else {
		c.moved[Upstream] += n
	}
}

func (c *counter) Ended(Outcome) { close(c.ended) }

func start(b testing.TB, r *Relay) (client, server *net.TCPConn, flow *Flow) {
	b.Helper()
	client, inClient := pair(b)
	inServer, server := pair(b)
	flow, err := r.Start(Ends{Client: inClient, Upstream: inServer}, nil, &counter{ended: make(chan struct{})})
	if err != nil {
		b.Fatal(err)
	}
	return client, server, flow
}

// burst sends a piece through a tunnel, which is echoed.
func burst(b testing.TB, client, server *net.TCPConn, piece []byte) {
	for _, hop := range [2][2]*net.TCPConn{{client, server}, {server, client}} {
		if _, err := hop[0].Write(piece); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(hop[1], piece); err != nil {
			b.Fatal(err)
		}
	}
}

// A burst through a tunnel that is awake allocates nothing.
func TestBurstsAllocateNothing(t *testing.T) {
	for name, size := range map[string]int{"small": 100, "bulk": 200 << 10} {
		r := relayWith(t, Config{})
		client, server, _ := start(t, r)
		piece := make([]byte, size)
		burst(t, client, server, piece)
		if allocs := testing.AllocsPerRun(200, func() { burst(t, client, server, piece) }); allocs > 0 && !raceEnabled {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

func BenchmarkRelay(b *testing.B) {
	b.Run("burst", func(b *testing.B) {
		r := relayWith(b, Config{})
		client, server, _ := start(b, r)
		piece := make([]byte, 100)
		b.ReportAllocs()
		for b.Loop() {
			burst(b, client, server, piece)
		}
	})
	for _, tunnels := range []int{1, 16} {
		b.Run("bulk/"+strconv.Itoa(tunnels), func(b *testing.B) { benchmarkBulk(b, Config{}, tunnels) })
		b.Run("bulkcopied/"+strconv.Itoa(tunnels), func(b *testing.B) { benchmarkBulk(b, Config{Pipes: -1}, tunnels) })
	}
	b.Run("tunnel", benchmarkTunnel)
	b.Run("parked", benchmarkParked)
	b.Run("sweep", benchmarkSweep)
}

func benchmarkBulk(b *testing.B, config Config, tunnels int) {
	r := relayWith(b, config)
	data := make([]byte, 1<<20)
	clients := make([]*net.TCPConn, tunnels)
	for i := range clients {
		client, server, _ := start(b, r)
		clients[i] = client
		go func() { _, _ = io.Copy(io.Discard, struct{ io.Reader }{server}) }()
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	b.ResetTimer()
	var things []func()
	for i, client := range clients {
		share := b.N / tunnels
		if i == 0 {
			share += b.N % tunnels
		}
		things = append(things, func() {
			for range share {
				if _, err := client.Write(data); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	together(things...)
}

// benchmarkTunnel is a flow's whole life between connections that are there.
func benchmarkTunnel(b *testing.B) {
	r := relayWith(b, Config{})
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		client, inClient := pair(b)
		inServer, server := pair(b)
		h := &counter{ended: make(chan struct{})}
		piece := []byte("x")
		b.StartTimer()
		if _, err := r.Start(Ends{Client: inClient, Upstream: inServer}, nil, h); err != nil {
			b.Fatal(err)
		}
		burst(b, client, server, piece)
		_ = client.CloseWrite()
		_ = server.CloseWrite()
		<-h.ended
		b.StopTimer()
		_, _ = client.Close(), server.Close()
		b.StartTimer()
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse + stats.StackInuse
}

// benchmarkParked tells what tunnels cost that are asleep, beside their
// connections.
func benchmarkParked(b *testing.B) {
	const tunnels = 1000
	r := relayByHand(b, Config{Idle: -1})
	type ends struct{ client, upstream *net.TCPConn }
	all := make([]ends, tunnels)
	flows := make([]*Flow, tunnels)
	for i := range all {
		_, all[i].client = pair(b)
		_, all[i].upstream = pair(b)
	}
	before := heap()
	for i, e := range all {
		flow, err := r.Start(Ends{Client: e.client, Upstream: e.upstream}, nil, &counter{ended: make(chan struct{})})
		if err != nil {
			b.Fatal(err)
		}
		flows[i] = flow
	}
	for _, f := range flows {
		(&tunnel{t: b, flow: f}).restIfThere()
	}
	b.ReportMetric(float64(heap()-before)/tunnels, "B/tunnel")
	b.ReportMetric(0, "ns/op")
	runtime.KeepAlive(flows)
}

// benchmarkSweep looks for idle ones among 50,000 tunnels.
func benchmarkSweep(b *testing.B) {
	const tunnels = 50_000
	r := relayByHand(b, Config{})
	for range tunnels {
		r.flows.add(&Flow{relay: r.Relay})
	}
	b.ReportAllocs()
	for b.Loop() {
		r.sweeps.rounds = -time.Hour
		r.sweep()
	}
	b.StopTimer()
	r.flows.flows = nil
}
