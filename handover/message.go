package handover

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"
)

// handoverVariable says which descriptor the conversation with the process
// before is held over.
const handoverVariable = "SALLYPORT_HANDOVER"

// protocol is the version of the conversation. Another one is refused.
const protocol = 1

// Bounds of the conversation.
const (
	maxConversation = 4 << 20         // bytes one way
	maxWord         = 8 << 10         // bytes of a reason
	sayWithin       = 5 * time.Second // for a message to be taken by the other side
	manifestWithin  = 30 * time.Second
)

// manifest is the old process's first message.
type manifest struct {
	Version   int            `json:"version"`
	PID       int            `json:"pid"`
	Sockets   []passedSocket `json:"sockets"`
	Held      []string       `json:"held,omitempty"` // what cannot be shared, and the new process must wait for
	Secret    []byte         `json:"secret"`
	Succeeded uint64         `json:"upgrades_succeeded"` // this one included
	Failed    uint64         `json:"upgrades_failed"`
}

// passedSocket is one descriptor, and what it was.
type passedSocket struct {
	FD      int    `json:"fd"`
	Name    string `json:"name"`
	Asked   string `json:"asked"`
	Systemd bool   `json:"systemd,omitempty"`
}

// word is every later message.
type word struct {
	Word string `json:"word"`
	Text string `json:"text,omitempty"`
}

// The words: the new process's first two, and the old one's, with what it has
// left.
const (
	wordReady  = "ready"
	wordFailed = "failed"
	wordLeft   = "left"
)

// say sends a message.
func say(conn *net.UnixConn, message any) error {
	if err := conn.SetWriteDeadline(time.Now().Add(sayWithin)); err != nil {
		return err
	}
	return json.NewEncoder(conn).Encode(message)
}

// hearing reads messages. The connection's read deadline bounds it in time.
func hearing(conn *net.UnixConn) *json.Decoder {
	return json.NewDecoder(io.LimitReader(conn, maxConversation))
}

// shorten keeps a reason within bounds.
func shorten(text string) string {
	if len(text) <= maxWord {
		return text
	}
	return fmt.Sprintf("%s … (%d bytes)", text[:maxWord], len(text))
}
