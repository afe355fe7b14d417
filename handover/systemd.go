package handover

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// The variables of socket activation (sd_listen_fds(3)).
const (
	listenPID    = "LISTEN_PID"
	listenPIDID  = "LISTEN_PIDFDID"
	listenFDs    = "LISTEN_FDS"
	listenFDName = "LISTEN_FDNAMES"
)

// firstFD is the first descriptor that is passed to a process, behind standard
// input, output and error.
const firstFD = 3

// maxSockets bounds how many sockets a process is passed.
const maxSockets = 4096

// Inherit takes over the sockets that this process was started with, from
// systemd or from the process before, and clears the environment of what told of
// them. Call it once, before anything else is started or opened. The caller
// calls Close. An error names what is wrong with what was passed; the process
// before is told.
func Inherit() (*Sockets, error) { return inherit(os.Getpid(), firstFD) }

func inherit(pid, first int) (*Sockets, error) {
	environment := map[string]string{}
	for _, name := range []string{handoverVariable, listenPID, listenPIDID, listenFDs, listenFDName} {
		if value, ok := os.LookupEnv(name); ok {
			environment[name] = value
			_ = os.Unsetenv(name) // what we start must not think that it is meant
		}
	}
	s := &Sockets{}
	_, _ = rand.Read(s.secret[:]) // which never fails
	if control, ok := environment[handoverVariable]; ok {
		if err := s.fromPredecessor(control); err != nil {
			return nil, err
		}
		return s, nil
	}
	if err := s.fromSystemd(environment, pid, first); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Sockets) fromSystemd(environment map[string]string, pid, first int) error {
	count, ok := environment[listenFDs]
	if !ok {
		return nil
	}
	if meant := environment[listenPID]; meant != strconv.Itoa(pid) {
		s.remarks = append(s.remarks, fmt.Sprintf("%s=%s passes sockets to process %s, and this is %d: they are not taken; "+
			"where a script starts this program, let it use exec", listenFDs, count, meant, pid))
		return nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxSockets {
		return fmt.Errorf("%s=%q is not a number of sockets from 0 to %d: unset it, or let systemd set it", listenFDs, count, maxSockets)
	}
	names := make([]string, n)
	if text, ok := environment[listenFDName]; ok && n > 0 {
		if names = strings.Split(text, ":"); len(names) != n {
			return fmt.Errorf("%s=%q has not as many names as %s=%d says that there are sockets", listenFDName, text, listenFDs, n)
		}
	}
	var problems []error
	for at, name := range names {
		i, err := newInherited(first + at)
		if err != nil {
			problems = append(problems, fmt.Errorf("systemd passed descriptor %d (%q): %w: "+
				"the socket unit must say Accept=no, and ListenStream= or ListenDatagram= with a port", first+at, name, err))
			continue
		}
		i.from, i.systemd, i.name = fromSystemd, true, name
		s.waiting = append(s.waiting, i)
	}
	return errors.Join(problems...)
}
