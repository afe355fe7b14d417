package ingress

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/testpki"
)

// BenchmarkStream measures queries on kept connections, which a desk answers.
func BenchmarkStream(b *testing.B) {
	a := testpki.New(b, "root")
	config := loadCertificates(b, serverFiles(b, a)).ServerConfig("dot")
	for _, transport := range []struct {
		name string
		tls  *tls.Config
	}{{"tcp", nil}, {"tls", config}} {
		for _, pipelined := range []struct {
			name  string
			depth int
		}{{"one", 1}, {"sixteen", 16}} {
			b.Run(transport.name+"/"+pipelined.name, func(b *testing.B) {
				s := serveStreams(b, streamSetup{tls: transport.tls})
				s.door.forgetful = true
				var conn net.Conn = s.dial(b)
				if transport.tls != nil {
					conn = tls.Client(conn, &tls.Config{RootCAs: a.Pool(), ServerName: "127.0.0.1"})
				}
				var burst []byte
				for range pipelined.depth {
					burst = append(burst, framesOf(packQuestion(b, 1, "now.example"))...)
				}
				replies := make([]byte, len(burst))
				b.ReportAllocs()
				for n := 0; n < b.N; n += pipelined.depth {
					sendAll(b, conn, burst)
					if _, err := io.ReadFull(conn, replies); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkSilentConnections measures what a connection costs that says
// nothing, the client's half of it included.
func BenchmarkSilentConnections(b *testing.B) {
	a := testpki.New(b, "root")
	config := loadCertificates(b, serverFiles(b, a)).ServerConfig("dot")
	for _, transport := range []struct {
		name string
		tls  *tls.Config
	}{{"tcp", nil}, {"tls", config}} {
		b.Run(transport.name, func(b *testing.B) {
			const silent = 1000
			for b.Loop() {
				s := serveStreams(b, streamSetup{tls: transport.tls, limits: crowdLimits{conns: silent, each: silent}})
				before := memoryInUse()
				conns := make([]*net.TCPConn, 0, silent)
				for range silent {
					conns = append(conns, s.dial(b))
				}
				eventually(b, "all are inside", func() bool { return s.crowd.count(s.transport) == silent })
				time.Sleep(50 * time.Millisecond) // for the last of them to have fallen silent
				b.ReportMetric(float64(memoryInUse()-before)/silent, "B/conn")
				for _, conn := range conns {
					conn.Close()
				}
			}
		})
	}
}

func memoryInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
