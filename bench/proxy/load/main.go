//go:build linux

package main

import (
	"bufio"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// settings are what the command line says.
type settings struct {
	proxy   netip.AddrPort // not valid: ask the backend itself
	backend netip.AddrPort
	workers int
	span    time.Duration
	idle    int      // tunnels that are open besides
	count   int      // of single tries
	pids    []int    // of the proxy
	names   []string // that are refused
}

func main() {
	part := flag.String("part", "", "what to measure")
	proxy := flag.String("proxy", "", "address of the proxy; empty: none")
	backend := flag.String("backend", "127.0.0.1:19000", "address of the backend's first place")
	names := flag.String("names", "", "file of names that the proxy refuses, one a line")
	pids := flag.String("pids", "", "processes of the proxy, with spaces between")
	s := settings{}
	flag.IntVar(&s.workers, "c", 32, "tunnels or connections at a time")
	flag.DurationVar(&s.span, "l", 3*time.Second, "how long")
	flag.IntVar(&s.idle, "idle", 0, "idle tunnels to hold open")
	flag.IntVar(&s.count, "n", 2000, "tries, of those that are made one after the other")
	flag.Parse()
	if err := s.read(*proxy, *backend, *names, *pids); err != nil {
		fail(err)
	}
	parts := map[string]func(settings) (report, error){
		"connect": connect, "tls": handshakes, "refuse": refuse, "plain": plain,
		"bulk": bulk, "idle": idle, "tunnel": tunnelTime, "get": getTime,
	}
	measure := parts[*part]
	if measure == nil {
		fail(fmt.Errorf("there is no part %q", *part))
	}
	r, err := measure(s)
	if err != nil {
		fail(err)
	}
	fmt.Println(r)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "load:", err)
	os.Exit(1)
}

func (s *settings) read(proxy, backend, names, pids string) (err error) {
	if s.backend, err = loopback(backend); err != nil {
		return err
	}
	if proxy != "" {
		if s.proxy, err = loopback(proxy); err != nil {
			return err
		}
	}
	for text := range strings.FieldsSeq(pids) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("process %q: %w", text, err)
		}
		s.pids = append(s.pids, pid)
	}
	if names == "" {
		return nil
	}
	f, err := os.Open(names)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		s.names = append(s.names, lines.Text())
	}
	return lines.Err()
}

// loopback keeps the load on this machine.
func loopback(text string) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(text)
	if err == nil && (!at.Addr().Is4() || !at.Addr().IsLoopback()) {
		err = fmt.Errorf("%s is not an IPv4 address on loopback", text)
	}
	return at, err
}
