//go:build linux

package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sallyport/sallyport/bench/proxy/plan"
)

// handshakes counts tunnels with a TLS handshake and one GET inside.
func handshakes(s settings) (report, error) {
	var mu sync.Mutex
	var all report
	var working sync.WaitGroup
	began := time.Now()
	for range s.workers {
		working.Go(func() {
			var mine report
			for time.Since(began) < s.span {
				start := time.Now()
				if err := s.secretly(); err != nil {
					mine.note(err)
					continue
				}
				mine.n++
				mine.took = append(mine.took, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			all.add(&mine)
		})
	}
	working.Wait()
	all.rate = float64(all.n) / time.Since(began).Seconds()
	return all, nil
}

var (
	unproven = &tls.Config{InsecureSkipVerify: true, ServerName: "backend.example", MinVersion: tls.VersionTLS13}
	page     = append(append([]byte(nil), plan.Head...), plan.Body...)
)

// secretly fetches the small page over TLS.
func (s settings) secretly() error {
	raw, err := s.open(plan.TLSPage)
	if err != nil {
		return err
	}
	defer reset(raw)
	conn := tls.Client(raw, unproven)
	if _, err := conn.Write([]byte("GET /page HTTP/1.1\r\nHost: backend.example\r\n\r\n")); err != nil {
		return err
	}
	got := make([]byte, len(page))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if !bytes.Equal(got, page) {
		return fmt.Errorf("%w: page %.40q", errWrong, got)
	}
	return nil
}
