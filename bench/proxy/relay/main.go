//go:build linux

package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:13128", "loopback address")
	flag.Parse()
	if err := serve(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

func serve(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !at.Addr().IsLoopback() {
		return fmt.Errorf("%s is not on loopback", at)
	}
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	for {
		client, err := listener.AcceptTCP()
		if err != nil {
			return err
		}
		go tunnel(client) // ends with its client or the other side
	}
}

func tunnel(client *net.TCPConn) {
	defer client.Close()
	reader := bufio.NewReader(client)
	request, err := http.ReadRequest(reader)
	if err != nil || request.Method != http.MethodConnect {
		return
	}
	to, err := netip.ParseAddrPort(request.RequestURI)
	if err != nil || !to.Addr().IsLoopback() {
		return
	}
	upstream, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(to))
	if err != nil {
		return
	}
	defer upstream.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	if early, err := reader.Peek(reader.Buffered()); err != nil || len(early) > 0 && !wrote(upstream, early) {
		return
	}
	var up sync.WaitGroup
	up.Go(func() { copyTo(upstream, client) })
	copyTo(client, upstream)
	up.Wait()
}

func wrote(conn net.Conn, data []byte) bool {
	_, err := conn.Write(data)
	return err == nil
}

// copyTo copies until one side ends, and passes that on.
func copyTo(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		_ = from.Close()
		_ = to.Close()
		return
	}
	_ = to.CloseWrite() // where it fails the other direction notices
}
