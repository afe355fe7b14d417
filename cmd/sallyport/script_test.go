package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sallyport": main})
}

// patience bounds every wait of a script. It is spent only on failure.
const patience = 20 * time.Second

// TestScripts plays testdata/script: the tool as users see it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": scriptStatus,
			"start":  scriptStart,
			"stop":   scriptStop,
			"hangup": scriptHangup,
			"http":   scriptHTTP,
			"ask":    scriptAsk,
			"occupy": scriptOccupy,
			"await":  scriptAwait,
			"offer":  scriptOffer,
		},
	})
}

// scriptStatus runs a command and wants one exit status: status 10 sallyport …
func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	err = ts.Exec(args[1], args[2:]...)
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// server is a gateway that a script has started.
type server struct {
	cmd   *exec.Cmd
	lines chan string // of standard output; closed at its end
}

// scriptStart runs "sallyport serve ARGS" until it is ready, and sets DNS_UDP,
// PROXY_HTTP and so on to where it listens. Its log is the file stderr.log.
func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	path, err := exec.LookPath("sallyport")
	ts.Check(err)
	cmd := exec.Command(path, append([]string{"serve"}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	log, err := os.Create(ts.MkAbs("stderr.log"))
	ts.Check(err)
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	s := &server{cmd: cmd, lines: make(chan string, 1000)}
	go func() {
		defer close(s.lines)
		scanner := bufio.NewScanner(stdout)
		for scanner.Scan() {
			s.lines <- scanner.Text()
		}
	}()
	ts.Setenv("SERVER", strconv.Itoa(cmd.Process.Pid))
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it has gone already where the script stopped it
		for range s.lines {
			// until it has closed its end
		}
		_ = cmd.Wait()
		_ = log.Close()
	})
	deadline := time.After(patience)
	for {
		select {
		case line, more := <-s.lines:
			if !more {
				ts.Fatalf("it ended before it was ready:\n%s", ts.ReadFile("stderr.log"))
			}
			if line == "ready" {
				return
			}
			name, address, _ := strings.Cut(strings.Replace(line, " ", "_", 1), " ")
			ts.Setenv(strings.ToUpper(name), address)
		case <-deadline:
			ts.Fatalf("not ready after %v", patience)
		}
	}
}

// signalServer sends a signal to the gateway that was started.
func signalServer(ts *testscript.TestScript, s syscall.Signal) int {
	pid, err := strconv.Atoi(ts.Getenv("SERVER"))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, s))
	return pid
}

func scriptHangup(ts *testscript.TestScript, neg bool, args []string) {
	signalServer(ts, syscall.SIGHUP)
}

// scriptStop ends the gateway as systemd does, and wants it to say that it has
// stopped.
func scriptStop(ts *testscript.TestScript, neg bool, args []string) {
	signalServer(ts, syscall.SIGTERM)
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if strings.Contains(ts.ReadFile("stderr.log"), "\tstopped") {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("still running after %v", patience)
		}
	}
}

// scriptHTTP asks until the answer has a status and a text: http METHOD URL
// STATUS TEXT.
func scriptHTTP(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: http METHOD URL STATUS TEXT")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		request, err := http.NewRequest(args[0], args[1], nil)
		ts.Check(err)
		response, err := client.Do(request)
		ts.Check(err)
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		ts.Check(err)
		if strconv.Itoa(response.StatusCode) == args[2] && strings.Contains(string(body), args[3]) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s %s: %s\n%s", args[0], args[1], response.Status, body)
		}
	}
}

// scriptAsk wants a name to be sinkholed by the DNS door: ask NAME.
func scriptAsk(ts *testscript.TestScript, neg bool, args []string) {
	conn, err := net.Dial("udp", ts.Getenv("DNS_UDP"))
	ts.Check(err)
	defer conn.Close()
	query := dnsmessage.Message{
		Header: dnsmessage.Header{ID: 1, RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName(args[0] + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
		}},
	}
	packed, err := query.Pack()
	ts.Check(err)
	ts.Check(conn.SetDeadline(time.Now().Add(patience)))
	_, err = conn.Write(packed)
	ts.Check(err)
	buf := make([]byte, 1500)
	n, err := conn.Read(buf)
	ts.Check(err)
	var reply dnsmessage.Message
	ts.Check(reply.Unpack(buf[:n]))
	blocked := false
	for _, answer := range reply.Answers {
		a, ok := answer.Body.(*dnsmessage.AResource)
		blocked = blocked || ok && a.A == [4]byte{}
	}
	if blocked == neg {
		ts.Fatalf("%s: %v", args[0], reply.Answers)
	}
}

// scriptOccupy takes a port of loopback and sets the named variable to it.
func scriptOccupy(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// scriptOffer serves a file over HTTP and sets a variable to the server's
// address: offer VARIABLE FILE.
func scriptOffer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: offer VARIABLE FILE")
	}
	text := ts.ReadFile(args[1])
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, text) // a client that is gone is told nothing
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.Listener.Addr().String())
}

// scriptAwait waits until a file holds a text: await FILE TEXT.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE TEXT")
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(text), args[1]) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s has no %q after %v: %s", args[0], args[1], patience, text)
		}
	}
}
