package handover

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// The variables of the notifications (sd_notify(3), sd_watchdog_enabled(3)).
const (
	notifySocket = "NOTIFY_SOCKET"
	watchdogUSec = "WATCHDOG_USEC"
	watchdogPID  = "WATCHDOG_PID"
)

// notifyWithin is how long systemd may take to take a notification.
const notifyWithin = time.Second

// Notifier tells systemd what becomes of this process. One without a socket,
// which is what there is where systemd does not want to know, does nothing. Safe
// for concurrent use.
type Notifier struct {
	socket   string
	watchdog time.Duration
}

// NewNotifier reads where systemd listens from the environment.
func NewNotifier(getenv func(string) string) *Notifier {
	n := &Notifier{socket: getenv(notifySocket)}
	if n.socket == "" {
		return n
	}
	if pid := getenv(watchdogPID); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n
	}
	if us, err := strconv.ParseInt(getenv(watchdogUSec), 10, 64); err == nil && us > 0 {
		n.watchdog = time.Duration(us) * time.Microsecond
	}
	return n
}

// Watchdog is how often systemd wants to hear that all is well, at the latest;
// 0: never. Tell it twice as often.
func (n *Notifier) Watchdog() time.Duration { return n.watchdog }

// Ready says that the start, or a reload, is over, and what is to be known of it.
func (n *Notifier) Ready(status string) error {
	return n.send("READY=1", "STATUS="+status)
}

// Reloading says that the configuration is being read again; Ready follows.
func (n *Notifier) Reloading() error {
	lines := []string{"RELOADING=1"}
	if us, ok := monotonic(); ok { // without it systemd takes an earlier Ready for the answer
		lines = append(lines, fmt.Sprintf("MONOTONIC_USEC=%d", us))
	}
	return n.send(lines...)
}

// Stopping says that the process has begun to stop, and may take so long.
func (n *Notifier) Stopping(within time.Duration) error {
	return n.send("STOPPING=1", fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", within.Microseconds()))
}

// MainPID says that another process is the service's main one from now on.
func (n *Notifier) MainPID(pid int) error {
	return n.send(fmt.Sprintf("MAINPID=%d", pid))
}

// Alive tells the watchdog that all is well.
func (n *Notifier) Alive() error { return n.send("WATCHDOG=1") }

// send sends one notification: a datagram to a local socket, whose name begins
// with @ where it is in Linux's abstract name space.
func (n *Notifier) send(lines ...string) error {
	if n.socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(notifyWithin)); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	for i, line := range lines { // a line break would begin another assignment
		lines[i] = strings.ReplaceAll(line, "\n", " ")
	}
	if _, err := conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}
