package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/gateway"
)

// person is somebody on the stage.
type person struct {
	name     string
	user     string
	password string
	desk     netip.Addr // the address of the person's machine
}

// stage is everything that the play needs: the gateway, what lies behind it,
// and its clock.
type stage struct {
	clock    *clock
	upstream *upstream
	origin   *origin
	gateway  *gateway.Gateway
	log      decisionLog
	dir      string // policy, users and decision log

	dnsDoor, proxyDoor string // host:port
}

// openStage starts everything, on free ports of loopback and in a temporary
// folder. The caller closes it, unless there is an error.
func openStage(ctx context.Context, policy []byte, at time.Time, cast []person, names []string, aliases map[string]string) (_ *stage, err error) {
	s := &stage{clock: newClock(at)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	if s.dir, err = os.MkdirTemp("", "sallyport-demo-"); err != nil {
		return nil, fmt.Errorf("make a folder for the demo: %w", err)
	}
	s.log.path = s.path("decisions.jsonl")
	if s.upstream, err = openUpstream(names, aliases); err != nil {
		return nil, err
	}
	if s.origin, err = openOrigin(slices.AppendSeq(slices.Clone(names), maps.Keys(aliases))); err != nil {
		return nil, err
	}
	if err = s.startGateway(ctx, policy, cast); err != nil {
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	return s, nil
}

func (s *stage) startGateway(ctx context.Context, policy []byte, cast []person) error {
	if err := s.writeFiles(policy, cast); err != nil {
		return err
	}
	g, err := gateway.New(s.config(), gateway.Dependencies{Stdout: io.Discard, Now: s.clock.time})
	if err != nil {
		return err
	}
	s.gateway = g
	if err := g.Start(ctx); err != nil {
		return err
	}
	for _, a := range g.Addrs() {
		switch a.Name {
		case "dns udp":
			s.dnsDoor = a.Addr
		case "proxy http":
			s.proxyDoor = a.Addr
		}
	}
	return nil
}

func (s *stage) writeFiles(policy []byte, cast []person) error {
	var users bytes.Buffer
	for _, p := range cast {
		// The cheapest hash will do: these passwords guard nothing.
		hash, err := bcrypt.GenerateFromPassword([]byte(p.password), bcrypt.MinCost)
		if err != nil {
			return fmt.Errorf("hash a password: %w", err)
		}
		fmt.Fprintf(&users, "%s:%s\n", p.user, hash)
	}
	return errors.Join(
		os.WriteFile(s.path("policy.yaml"), policy, 0o600),
		os.WriteFile(s.path("users.htpasswd"), users.Bytes(), 0o600),
	)
}

func (s *stage) config() *gateway.Config {
	c := gateway.DefaultConfig()
	c.Policy = s.path("policy.yaml")
	c.Tenant = "demo"
	c.DNS.Listen = []string{"127.0.0.1:0"}
	c.DNS.Upstreams = []string{"udp://" + s.upstream.address()}
	c.Proxy.Listen = []string{"127.0.0.1:0"}
	c.Proxy.DenyNone = true // the origin is on loopback
	c.Proxy.UsersFile = s.path("users.htpasswd")
	c.Proxy.Drain = time.Second
	c.Users.Remember = time.Hour // so that the DNS door knows who sits where
	c.Admin.Listen, c.Portal.Listen = "", ""
	c.Audit.File, c.Audit.Allows = s.log.path, "all"
	return c
}

// close stops what was started, in the order opposite to the start.
func (s *stage) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), knockTimeout)
	defer cancel()
	var problems []error
	if s.gateway != nil {
		problems = append(problems, s.gateway.Shutdown(ctx))
	}
	if s.origin != nil {
		problems = append(problems, s.origin.close())
	}
	if s.upstream != nil {
		problems = append(problems, s.upstream.close())
	}
	if s.dir != "" {
		problems = append(problems, os.RemoveAll(s.dir))
	}
	return errors.Join(problems...)
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }
