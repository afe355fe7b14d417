package linelog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// sink is where lines go: a file that this package opens and closes, or a
// writer that belongs to somebody else.
type sink struct {
	noun string
	path string // empty for somebody else's writer
	out  io.Writer
	file *os.File // nil for somebody else's writer
}

func openSink(noun, path string, stdout io.Writer) (*sink, error) {
	if path == "" {
		return &sink{noun: noun, out: stdout}, nil
	}
	s := &sink{noun: noun, path: path}
	f, err := s.openFile()
	if err != nil {
		return nil, err
	}
	s.file, s.out = f, f
	return s, nil
}

// reopen opens the path again, and only then lets go of the old file. It
// reports whether there is a new one, which an error does not rule out.
func (s *sink) reopen() (switched bool, err error) {
	if s.file == nil {
		return false, nil
	}
	f, err := s.openFile()
	if err != nil {
		return false, err
	}
	old := s.file
	s.file, s.out = f, f
	if err := old.Close(); err != nil {
		return true, fmt.Errorf("close the %s before rotation: %w", s.noun, err)
	}
	return true, nil
}

func (s *sink) close() error {
	if s.file == nil {
		return nil
	}
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("close %s: %w", s.noun, err)
	}
	return nil
}

// openFile opens the file to append to it. Several processes may append to one
// file: every write is of whole lines.
func (s *sink) openFile() (*os.File, error) {
	// Without O_NONBLOCK a named pipe that nobody reads would hold the start
	// for ever; with it that is an error. Files do not mind.
	f, err := os.OpenFile(s.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", s.noun, err)
	}
	if err := endTornLine(f, s.path, func() { time.Sleep(tornPause) }); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", s.noun, err), f.Close())
	}
	return f, nil
}

// How long the last line of a file is looked at before it is taken for torn.
const (
	tornLooks = 5
	tornPause = 10 * time.Millisecond
)

// endTornLine ends the last line of a file whose writer died in the middle of
// it, so that our first entry gets a line of its own. Another process may be
// writing at this very moment, and what there is of its block then ends
// anywhere: a line is torn where nothing is added to it for some time. pause
// waits between two looks.
func endTornLine(f *os.File, path string, pause func()) error {
	size, whole, err := lastLine(f, path)
	for look := 1; err == nil && !whole && look < tornLooks; look++ {
		pause()
		before := size
		if size, whole, err = lastLine(f, path); size != before {
			return err // somebody else is at work on it, and ends the line
		}
	}
	if err != nil || whole {
		return err
	}
	_, err = f.Write([]byte("\n"))
	return err
}

// lastLine is the size of a file, and whether its last line has its end as far
// as can be known.
func lastLine(f *os.File, path string) (size int64, whole bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, false, err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return 0, true, nil
	}
	r, err := os.Open(path)
	if err != nil {
		return 0, true, nil // may be written and not read: then its end cannot be known
	}
	defer r.Close()
	var last [1]byte
	if _, err := r.ReadAt(last[:], info.Size()-1); err != nil {
		return 0, true, nil // somebody else is at work on it
	}
	return info.Size(), last[0] == '\n', nil
}
