package handover

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// Sockets is where listeners get their sockets from. Make it with Inherit; nil
// opens every socket anew. Safe for concurrent use.
type Sockets struct {
	remarks     []string
	predecessor *predecessor // nil: nobody was here before
	secret      [secretBytes]byte

	mu        sync.Mutex
	waiting   []*inherited // nobody has asked for them yet
	used      []used
	turns     sync.WaitGroup // that are waited for to let go of something
	held      map[string]int // what cannot be shared, and how often it is held
	successor *Successor
	succeeded uint64
	failed    uint64
}

// used is a socket that a listener has. Where the listener was closed, its
// socket cannot be had from raw any more.
type used struct {
	name, network, asked string
	systemd              bool
	raw                  syscall.RawConn
}

// Remarks are what an administrator should know of what Inherit found.
func (s *Sockets) Remarks() []string {
	if s == nil {
		return nil
	}
	return s.remarks
}

// secretBytes is the length of what processes of one line share.
const secretBytes = 32

// Secret is random, and the same for every process that takes over from this
// one: what the old one has signed, the new one can tell for its own.
func (s *Sockets) Secret() [secretBytes]byte {
	if s == nil {
		var secret [secretBytes]byte
		_, _ = rand.Read(secret[:]) // which never fails
		return secret
	}
	return s.secret
}

// Listen is config's Listen for TCP, with a socket that is there already where
// one was inherited for address. name is the listener's, the same in every
// version. config's Control is called for inherited sockets too, although they
// are bound. The result is a *net.TCPListener.
func (s *Sockets) Listen(ctx context.Context, config *net.ListenConfig, name, address string) (net.Listener, error) {
	if found := s.claim(wanted{network: "tcp", name: name, asked: address}); len(found) > 0 {
		if err := s.adopt(found[:1], config, name, address); err != nil {
			return nil, err
		}
		return found[0].listener, nil
	}
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if err := s.use(listener, used{name: name, network: "tcp", asked: address}); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// ListenPackets gives every UDP socket that was inherited for address, or else
// one that it opens as config's ListenPacket does; inherited says which. All of
// them must be read: each may hold datagrams. network is udp, udp4 or udp6. The
// rest is as for Listen; the results are *net.UDPConn.
func (s *Sockets) ListenPackets(ctx context.Context, config *net.ListenConfig, name, network, address string) (sockets []net.PacketConn, inherited bool, err error) {
	if found := s.claim(wanted{network: "udp", name: name, asked: address}); len(found) > 0 {
		if err := s.adopt(found, config, name, address); err != nil {
			return nil, true, err
		}
		for _, i := range found {
			sockets = append(sockets, i.packets)
		}
		return sockets, true, nil
	}
	socket, err := config.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, false, err
	}
	if err := s.use(socket, used{name: name, network: "udp", asked: address}); err != nil {
		return nil, false, errors.Join(err, socket.Close())
	}
	return []net.PacketConn{socket}, false, nil
}

// ListenAlone gives one UDP socket, for protocols whose connections are the
// process's own. Where the process before has it too, reading waits until that
// has closed its own. The rest is as for ListenPackets.
func (s *Sockets) ListenAlone(ctx context.Context, config *net.ListenConfig, name, address string) (net.PacketConn, error) {
	if s == nil {
		return config.ListenPacket(ctx, "udp", address)
	}
	sockets, inherited, err := s.ListenPackets(ctx, config, name, "udp", address)
	if err != nil {
		return nil, err
	}
	if len(sockets) > 1 {
		for _, socket := range sockets {
			_ = socket.Close()
		}
		return nil, fmt.Errorf("%d sockets were passed for UDP %s, which can be read from one alone: pass one", len(sockets), address)
	}
	socket, ok := sockets[0].(*net.UDPConn)
	if !ok {
		_ = sockets[0].Close()
		return nil, errors.New("not a UDP address")
	}
	var turn <-chan struct{}
	if inherited {
		turn = s.Left(socketsAlone)
	}
	release := s.Hold(socketsAlone)
	return newAlone(socket, turn, func() { s.afterTurn(turn, release) }), nil
}

// afterTurn lets go of a socket: where its turn has not come, when it does, for
// whoever had it before may read it still.
func (s *Sockets) afterTurn(turn <-chan struct{}, release func()) {
	select {
	case <-turn:
		release()
	default:
		if turn == nil {
			release()
			return
		}
		s.turns.Go(func() {
			<-turn
			release()
		})
	}
}

// socketsAlone is what the sockets from ListenAlone are held as.
const socketsAlone = "sockets"

// Hold says that this process has something that it cannot share with the one
// that takes over, such as a file that it rewrites, until release is called.
// That one learns by Left of the same name when everybody has released it.
func (s *Sockets) Hold(what string) (release func()) {
	if s == nil {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = map[string]int{}
	}
	s.held[what]++
	return sync.OnceFunc(func() { s.release(what) })
}

func (s *Sockets) release(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[what]--; s.held[what] > 0 {
		return
	}
	delete(s.held, what)
	if s.successor != nil {
		s.successor.left(what)
	}
}

// Reserve makes sure that a TCP address can be had, as a call of Listen later
// will want it: a process that takes over finds out before it serves anybody
// that it cannot stay. Without a predecessor it does nothing, and for a port
// that the kernel chooses.
func (s *Sockets) Reserve(ctx context.Context, config *net.ListenConfig, address string) error {
	if s == nil || s.predecessor == nil {
		return nil
	}
	w := wanted{network: "tcp", asked: address}
	if w.anyPort() || s.has(w) {
		return nil
	}
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return errors.Join(errors.New("not a TCP address"), listener.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, &inherited{listener: tcp, bound: boundTo(tcp.Addr()), from: fromReserve})
	return nil
}

// Settle is to be called once everything listens. It closes the sockets that
// nobody asked for, and says which they were: addresses that are no longer
// configured. Of those that systemd passed it makes an error, since clients
// could go on connecting to them.
func (s *Sockets) Settle() (unused []string, err error) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	var problems []error
	for _, i := range waiting {
		i.close()
		switch {
		case i.from == fromSystemd:
			problems = append(problems, fmt.Errorf("systemd passed %s, and nothing is configured to listen there: "+
				"add the address to the configuration, or take it out of the socket unit", i))
		case i.from == fromPredecessor && i.systemd:
			unused = append(unused, fmt.Sprintf("%s, which systemd still holds: take it out of the socket unit", i))
		case i.from == fromPredecessor:
			unused = append(unused, i.String())
		}
	}
	return unused, errors.Join(problems...)
}

// Close closes what nobody has asked for and ends the conversation with the
// process before. Sockets that listeners have are theirs.
func (s *Sockets) Close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, i := range waiting {
		i.close()
	}
	if s.predecessor != nil {
		s.predecessor.close()
	}
}

// Upgrades is how many handovers there have been in this line of processes,
// before this one too.
func (s *Sockets) Upgrades() (succeeded, failed uint64) {
	if s == nil {
		return 0, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.succeeded, s.failed
}

// claim takes what fits best out of what waits, with its siblings: the sockets
// that share its address.
func (s *Sockets) claim(w wanted) []*inherited {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	best := w.best(s.waiting)
	if best == nil {
		return nil
	}
	var taken, rest []*inherited
	for _, i := range s.waiting {
		sibling := w.network == "udp" && best.siblingOf(i)
		if i == best || sibling {
			taken = append(taken, i)
			continue
		}
		rest = append(rest, i)
	}
	s.waiting = rest
	return taken
}

func (s *Sockets) has(w wanted) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return w.best(s.waiting) != nil
}

// adopt makes inherited sockets those of a listener.
func (s *Sockets) adopt(found []*inherited, config *net.ListenConfig, name, address string) error {
	for n, i := range found {
		err := i.control(config)
		if err == nil {
			err = s.use(i.socket(), used{name: name, network: i.network(), asked: address, systemd: i.systemd})
		}
		if err != nil {
			for _, one := range found[n:] {
				one.close()
			}
			return fmt.Errorf("take over %s: %w", i, err)
		}
	}
	return nil
}

// use remembers a socket for the process that takes over.
func (s *Sockets) use(socket any, u used) error {
	if s == nil {
		return nil
	}
	conn, ok := socket.(syscall.Conn)
	if !ok {
		return errors.New("not a socket of this system")
	}
	var err error
	if u.raw, err = conn.SyscallConn(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = append(s.used, u)
	return nil
}
