//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"github.com/sallyport/sallyport/bench/proxy/plan"
)

func main() {
	at := flag.String("at", "127.0.0.1", "loopback address to listen on")
	port := flag.Uint("port", 19000, "the first of the ports")
	flag.Parse()
	if err := run(*at, uint16(*port)); err != nil {
		fmt.Fprintln(os.Stderr, "backend:", err)
		os.Exit(1)
	}
}

func run(at string, port uint16) error {
	addr, err := netip.ParseAddr(at)
	if err != nil {
		return err
	}
	if !addr.IsLoopback() || !addr.Is4() {
		return fmt.Errorf("%s is not an IPv4 address on loopback", addr)
	}
	base := netip.AddrPortFrom(addr, port)
	fast, err := newFast(base)
	if err != nil {
		return err
	}
	pages, err := listenTLS(plan.At(base, plan.TLSPage))
	if err != nil {
		return err
	}
	streams, err := listenStreams(plan.At(base, plan.Stream))
	if err != nil {
		return err
	}
	errs := make(chan error, 3)
	var serving sync.WaitGroup
	serving.Go(func() { errs <- fast.serve() })
	serving.Go(func() { errs <- pages.serve() })
	serving.Go(func() { errs <- streams.serve() })
	fmt.Println("ready")
	return errors.Join(<-errs) // the first failure ends all
}
