package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"sync"
	"time"
)

func main() {
	serve := flag.String("serve", "", "be the echo server on this address")
	proxy := flag.String("proxy", "", "proxy address; empty: dial the target directly")
	target := flag.String("target", "127.0.0.1:9001", "what the tunnels lead to")
	workers := flag.Int("c", 32, "tunnels at a time")
	span := flag.Duration("l", 3*time.Second, "how long")
	want := flag.Int("want", http.StatusOK, "status expected of CONNECT; other than 200: refusals are counted")
	flag.Parse()
	if err := run(*serve, *proxy, *target, *workers, *span, *want); err != nil {
		fmt.Fprintln(os.Stderr, "connectload:", err)
		os.Exit(1)
	}
}

func run(serve, proxy, target string, workers int, span time.Duration, want int) error {
	for _, address := range []string{serve, proxy, target} {
		if err := mustBeLoopback(address); err != nil {
			return err
		}
	}
	if serve != "" {
		return echo(serve)
	}
	var all []time.Duration
	var failed int
	var why error
	var mu sync.Mutex
	var running sync.WaitGroup
	end := time.Now().Add(span)
	for range workers {
		running.Go(func() {
			took, bad, err := work(proxy, target, want, end)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			failed += bad
			if err != nil {
				why = err
			}
		})
	}
	running.Wait()
	if len(all) == 0 {
		return fmt.Errorf("no tunnel to %s through %q was opened: %w", target, proxy, why)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	fmt.Printf("%.0f tunnels/s, p50 %v, p99 %v, %d failed", float64(len(all))/span.Seconds(),
		all[len(all)/2].Round(time.Microsecond), all[len(all)*99/100].Round(time.Microsecond), failed)
	if why != nil {
		fmt.Printf(" (such as: %v)", why)
	}
	fmt.Println()
	return nil
}

// mustBeLoopback keeps the load on this machine.
func mustBeLoopback(address string) error {
	if address == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip != nil && !ip.IsLoopback() {
		return fmt.Errorf("%s is not on loopback", address)
	}
	return nil
}

func work(proxy, target string, want int, end time.Time) (took []time.Duration, failed int, why error) {
	for time.Now().Before(end) {
		began := time.Now()
		if err := tunnel(proxy, target, want); err != nil {
			failed, why = failed+1, err
			continue
		}
		took = append(took, time.Since(began))
	}
	return took, failed, why
}

func tunnel(proxy, target string, want int) error {
	address := target
	if proxy != "" {
		address = proxy
	}
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if proxy != "" {
		if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target); err != nil {
			return err
		}
		response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), &http.Request{Method: http.MethodConnect})
		if err != nil {
			return err
		}
		if response.StatusCode != want {
			return fmt.Errorf("status %s", response.Status)
		}
		if want != http.StatusOK {
			return nil
		}
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return err
}

func echo(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			// The side that closes first keeps the port for a minute. It is this
			// one, so that a proxy does not run out of ports to dial from.
			defer conn.Close()
			b := make([]byte, 1)
			if _, err := io.ReadFull(conn, b); err == nil {
				_, _ = conn.Write(b) // the peer's end of it is what is measured
			}
		}()
	}
}
