package outbound

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzAnswerHead reads an answer in every way that there is, and in pieces of
// every size: the head is the same, and what follows is left where it was.
func FuzzAnswerHead(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.0 200\n\nhello", "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\n\r\n",
		"\r\n\r\n", "\n\r\n", "\r\r\n\n", "HTTP/1.1 200 OK\r\n \r\n\r\n", "HTTP/1.1 099 \r\n\r\n", "HTTP/1.1 2000 \r\n\r\n", "H", "",
		"HTTP/1.1 503 \x00\x1b[31m\r\n\r\n", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", peekBytes) + "\r\n\r\nhello",
	} {
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, answer []byte, size uint8) {
		if len(answer) > maxAnswerHead {
			return
		}
		rest := bytes.NewReader(answer)
		head, err := readHeadBytewise(rest)
		left, _ := io.ReadAll(rest)
		if err == nil && !bytes.Equal(append(bytes.Clone(head), left...), answer) {
			t.Fatalf("%q and %q are not %q", head, left, answer)
		}
		if inPieces, ok := headInPieces(answer, int(size)+1); ok != (err == nil) || !bytes.Equal(inPieces, head) {
			t.Fatalf("in pieces the head is %q, %v, and bytewise %q, %v", inPieces, ok, head, err)
		}
		if err != nil {
			return
		}
		parsed, err := parseAnswerHead(head)
		if err == nil && (parsed.status < 100 || parsed.status > 999) {
			t.Errorf("status %d", parsed.status)
		}
		if shown := parsed.String(); strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' || r > '~' }) || len(shown) > 8*maxReason {
			t.Errorf("shown as %q", shown)
		}
	})
}

// headInPieces finds the head of an answer that comes in pieces of one size.
func headInPieces(answer []byte, size int) (head []byte, done bool) {
	var end headEnd
	for len(answer) > 0 {
		piece := answer[:min(size, len(answer))]
		n, done := end.find(piece)
		head, answer = append(head, piece[:n]...), answer[len(piece):]
		if done {
			return head, true
		}
	}
	return nil, false
}

// FuzzSOCKSReply reads replies: nothing behind a good one is touched, and how
// they come in makes no difference.
func FuzzSOCKSReply(f *testing.F) {
	for _, seed := range []string{
		"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00hello", "\x05\x00\x00\x03\x01a\x00\x00hello", "\x05\x00\x00\x03\x00\x00\x00",
		"\x05\x00\x00\x04" + strings.Repeat("\x00", 18), "\x05\x02", "\x04\x00\x00\x01", "\x05\x00\x00\x02", "\x05", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		whole := bytes.NewReader(answer)
		reply, err := readSOCKSReply(whole)
		pieces := bytes.NewReader(answer)
		again, errAgain := readSOCKSReply(iotest.OneByteReader(pieces))
		if reply != again || (err == nil) != (errAgain == nil) || whole.Len() != pieces.Len() {
			t.Fatalf("%q: %d, %v, %d left; byte by byte %d, %v, %d left", answer, reply, err, whole.Len(), again, errAgain, pieces.Len())
		}
		if err == nil && reply == 0 {
			length := map[byte]int{socksIPv4: 4, socksIPv6: 16}[answer[3]]
			if answer[3] == socksName {
				length = 1 + int(answer[4])
			}
			if taken := len(answer) - whole.Len(); taken != 4+length+2 {
				t.Errorf("%q: %d bytes taken", answer, taken)
			}
		}
		if text, _ := socksReply(reply); printable(text) != text {
			t.Errorf("shown as %q", text)
		}
	})
}

// FuzzParseEndpoint wants every endpoint that is taken to be the same when it
// is written and read again.
func FuzzParseEndpoint(f *testing.F) {
	for _, seed := range []string{"http://proxy.corp.example:3128", "socks5h://[::1]:1080", "https://a:b@c:1", "http://[::1%25eth0]:1", "://", "http://]:1", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseEndpoint(text)
		if err != nil {
			return
		}
		if again, err := ParseEndpoint(e.String()); err != nil || again != e {
			t.Fatalf("%q gives %v, and that gives %v, %v", text, e, again, err)
		}
	})
}

// The head that the kernel is asked for is the one that is found byte by byte,
// however it comes in; what follows can still be read.
func TestReadHeadLeavesTheRest(t *testing.T) {
	answers := []string{
		"HTTP/1.1 200 OK\r\n\r\nrest", "HTTP/1.1 200 OK\n\nrest",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 3*peekBytes) + "\r\n\r\nrest",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", peekBytes-len("HTTP/1.1 200 OK\r\nX: \r\n\r\n")) + "\r\n\r\nrest", // ends with a piece
	}
	for _, answer := range answers {
		for _, size := range []int{1, 7, len(answer)} {
			at := serve(t, "127.0.0.1:0", func(conn net.Conn) {
				for text := answer; text != ""; text = text[min(size, len(text)):] {
					if _, err := io.WriteString(conn, text[:min(size, len(text))]); err != nil {
						return
					}
				}
			})
			conn, err := net.Dial("tcp", at.String())
			if err != nil {
				t.Fatal(err)
			}
			head, err := readHead(conn)
			rest, _ := io.ReadAll(conn)
			if err != nil || string(head)+string(rest) != answer || string(rest) != "rest" {
				t.Errorf("in pieces of %d: head of %d bytes, %v, rest %q", size, len(head), err, rest)
			}
			_ = conn.Close()
		}
	}
}
