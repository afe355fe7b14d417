//go:build linux

package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/elazarl/goproxy"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:13128", "address")
	list := flag.String("list", "", "file of names to refuse, with all below them")
	flag.Parse()
	if err := serve(*listen, *list); err != nil {
		fmt.Fprintln(os.Stderr, "goproxy:", err)
		os.Exit(1)
	}
}

func serve(address, list string) error {
	refused, err := read(list)
	if err != nil {
		return err
	}
	proxy := goproxy.NewProxyHttpServer()
	proxy.Logger = silence{}
	proxy.OnRequest().HandleConnectFunc(func(host string, ctx *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		name, _, err := net.SplitHostPort(host)
		if err != nil || !refused.holds(name) {
			return goproxy.OkConnect, host
		}
		ctx.Resp = goproxy.NewResponse(ctx.Req, goproxy.ContentTypeText, http.StatusForbidden, "refused\n")
		return goproxy.RejectConnect, host
	})
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return http.Serve(listener, proxy)
}

// silence is a log that nobody pays for.
type silence struct{}

// Printf writes nothing.
func (silence) Printf(string, ...any) {}

// names are the names that are refused, with all below them.
type names map[string]struct{}

func read(path string) (names, error) {
	all := names{}
	if path == "" {
		return all, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		all[lines.Text()] = struct{}{}
	}
	return all, lines.Err()
}

func (n names) holds(name string) bool {
	for {
		if _, ok := n[name]; ok {
			return true
		}
		_, above, more := strings.Cut(name, ".")
		if !more {
			return false
		}
		name = above
	}
}
