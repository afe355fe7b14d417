package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/sallyport/sallyport/dnsfilter/ingress"
)

// mirror answers every query with itself.
type mirror struct{}

func (mirror) Desk() ingress.Desk { return mirror{} }
func (mirror) Begin()             {}
func (mirror) End()               {}

func (mirror) Try(q *ingress.Query, dst []byte) ([]byte, bool) {
	reply := append(dst[:0], q.Wire...)
	if len(reply) > 2 {
		reply[2] |= 0x80
	}
	return reply, true
}

func (m mirror) Respond(_ context.Context, q *ingress.Query, dst []byte) []byte {
	reply, _ := m.Try(q, dst)
	return reply
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: echo ADDRESS")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	workers := ingress.NewWorkers(0)
	listener, err := ingress.ListenUDP(ctx, os.Args[1], ingress.UDPConfig{Workers: workers})
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
	listener.Serve(ctx, mirror{})
	workers.Close()
}
