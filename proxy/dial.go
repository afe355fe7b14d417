package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// headStart is how long one address is tried before the next one is tried
// beside it (RFC 8305 §5).
const headStart = 250 * time.Millisecond

// maxAttempts bounds how many addresses are tried for one connection.
const maxAttempts = 8

// attempt is what became of trying one address.
type attempt struct {
	conn *net.TCPConn
	err  error
}

// dial connects to one of the addresses, all of which must have been checked,
// within the dial timeout. It returns when no attempt is under way any more.
func (s *Server) dial(ctx context.Context, addresses []netip.Addr, port uint16) (*net.TCPConn, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeouts.Dial)
	defer cancel()
	conn, err := race(ctx, alternate(addresses), port)
	s.metrics.dialled(dialResult(err), time.Since(began))
	return conn, err
}

// race tries the addresses in order, the next one as soon as one has failed or
// has had its head start, and returns the first connection.
func race(ctx context.Context, addresses []netip.Addr, port uint16) (*net.TCPConn, error) {
	if len(addresses) == 0 {
		return nil, errors.New("dial: no address")
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("dial: %w", err) // else it is a matter of luck which error comes first
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempt)
	next, running := 0, 0
	start := func() {
		if next == len(addresses) {
			return
		}
		target := netip.AddrPortFrom(addresses[next], port)
		next, running = next+1, running+1
		go try(ctx, target, results)
	}
	timer := time.NewTimer(headStart)
	defer timer.Stop()

	var winner *net.TCPConn
	var errs []error
	start()
	for running > 0 {
		select {
		case <-timer.C:
			if winner == nil {
				start()
				timer.Reset(headStart)
			}
		case result := <-results:
			running--
			switch {
			case result.err != nil && winner == nil:
				errs = append(errs, result.err)
				if ctx.Err() == nil {
					start()
				}
			case result.conn != nil && winner == nil:
				winner = result.conn
				cancel()
			case result.conn != nil:
				_ = result.conn.Close() // came in second
			}
		}
	}
	if winner == nil {
		return nil, fmt.Errorf("dial: %w", errors.Join(errs...))
	}
	return winner, nil
}

// try connects to one address. Whoever started it waits for the result.
func try(ctx context.Context, target netip.AddrPort, results chan<- attempt) {
	var dialer net.Dialer
	conn, err := dialer.DialTCP(ctx, "tcp", netip.AddrPort{}, target)
	results <- attempt{conn, err}
}

// alternate orders addresses so that the families take turns, the family of
// the first address first (RFC 8305 §4), and keeps as many as will be tried.
func alternate(addresses []netip.Addr) []netip.Addr {
	if len(addresses) < 2 {
		return addresses
	}
	var first, second []netip.Addr
	for _, a := range addresses {
		if a.Is4() == addresses[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	list := make([]netip.Addr, 0, len(addresses))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			list = append(list, first[i])
		}
		if i < len(second) {
			list = append(list, second[i])
		}
	}
	return list[:min(len(list), maxAttempts)]
}

// dialResult is the metric label for how a dial ended.
func dialResult(err error) string {
	var network net.Error
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH):
		return "unreachable"
	default:
		return "error"
	}
}
